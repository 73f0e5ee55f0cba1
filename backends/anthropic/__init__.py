"""The Anthropic Messages wire and its dialects."""

from backends.anthropic.build import build
from backends.anthropic.profiles import PROFILES
from backends.anthropic.settings import OPTIONS
from backends.wire import Wire

WIRE = Wire(name="anthropic", dialects=PROFILES, build=build, options=OPTIONS)
