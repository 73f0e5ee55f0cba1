"""An endpoint's answer: its container's own, plain or cut into the parts of an AWS event stream."""

from __future__ import annotations

import base64
import json

from simulation.recordings.errors import expected
from simulation.recordings.frames import read_aws, read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.readings import openai
from simulation.recordings.readings.said import Said


def read(interaction: Interaction) -> Said:
    said = Said()
    if interaction.is_document:
        payloads = [interaction.body.decode(), "[DONE]"]
    else:
        parts = b""
        events, _ = read_aws(interaction.body)
        for event in events:
            if event.failed:
                said.failure = expected(424, {"x-amzn-errortype": event.kind}, event.payload, wire="sagemaker")
                break
            parts += _part(event.payload)
        payloads = [event.data for event in read_sse(parts)]
    openai.read_payloads(payloads, said)
    return said


def _part(payload: bytes) -> bytes:
    """The bytes themselves, or in a JSON document as base64."""
    try:
        wrapped = json.loads(payload)
    except ValueError:
        return payload
    if isinstance(wrapped, dict) and set(wrapped) <= {"Bytes", "p"} and "Bytes" in wrapped:
        return base64.b64decode(wrapped["Bytes"])
    return payload
