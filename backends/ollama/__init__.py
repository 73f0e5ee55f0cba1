"""Ollama's own wire, of a server on this machine or of Ollama's cloud."""

from backends.ollama.build import build
from backends.ollama.dialects import DIALECTS, OPTIONS
from backends.wire import Wire

WIRE = Wire(name="ollama", dialects=DIALECTS, build=build, options=OPTIONS)
