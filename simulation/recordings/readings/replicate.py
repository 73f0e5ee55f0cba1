"""The stream of a prediction: plain text, whose newlines are several `data:` lines."""

from __future__ import annotations

import json

from simulation.recordings.frames import read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.predictions import last_seen, stream_of
from simulation.recordings.readings.said import Said, Tokens


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
    seen = last_seen(interaction)
    metrics = json.loads(seen.body).get("metrics") or {} if seen is not None else {}
    if metrics.get("output_token_count"):
        given = metrics.get("input_token_count")
        said.usage = Tokens(input=given or 0, output=metrics["output_token_count"], partial=given is None)
        if said.finish == "stop" and metrics["output_token_count"] >= _limit(interaction):
            said.finish = "length"
    return said


def _limit(interaction: Interaction) -> float:
    asked = interaction.request.get("input") or {} if isinstance(interaction.request, dict) else {}
    return asked.get("max_tokens") or asked.get("max_new_tokens") or float("inf")
