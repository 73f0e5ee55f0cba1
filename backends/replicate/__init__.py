"""Replicate: a prediction is created, read from a stream on another host, and cancelled by request."""

from backends.replicate.build import build
from backends.replicate.dialects import DIALECTS, OPTIONS
from backends.wire import Wire

WIRE = Wire(name="replicate", dialects=DIALECTS, build=build, options=OPTIONS)
