"""The OpenAI chat wire and its dialects."""

from backends.openai.build import build
from backends.openai.options import OPTIONS
from backends.openai.profiles import PROFILES
from backends.wire import Wire

WIRE = Wire(name="openai_chat", dialects=PROFILES, build=build, options=OPTIONS)
