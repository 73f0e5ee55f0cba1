"""The stream of a prediction: plain text, whose newlines are several `data:` lines."""

from __future__ import annotations

import json

from simulation.recordings.frames import read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.predictions import stream_of
from simulation.recordings.readings.said import Said


def read(interaction: Interaction) -> Said:
    said = Said()
    stream = stream_of(interaction)
    for event in read_sse(stream.body if stream is not None else b""):
        if event.name == "output":
            said.text += event.data
        elif event.name == "error":
            said.failure = frozenset({"UPSTREAM_FAULT"})
        elif event.name == "done":
            said.complete = True
            reason = json.loads(event.data).get("reason") if event.data.strip() else None
            if reason:
                said.failure = frozenset({"UPSTREAM_FAULT"})
            said.finish = "stop"
    return said
