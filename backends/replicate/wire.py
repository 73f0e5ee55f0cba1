"""What Replicate's API says of a prediction, as far as it is read."""

from __future__ import annotations

from typing import Any

import msgspec

from backends.counts import Number


class Urls(msgspec.Struct):
    stream: str | None = None
    get: str | None = None
    cancel: str | None = None


class Metrics(msgspec.Struct):
    """Counts of tokens are there for models that are billed by them; times are in seconds."""

    input_token_count: Number | None = None
    output_token_count: Number | None = None
    predict_time: Number | None = None
    total_time: Number | None = None
    time_to_first_token: Number | None = None


class Prediction(msgspec.Struct):
    """`error` is a text, or null."""

    id: str = ""
    status: str = ""
    error: Any = None
    urls: Urls | None = None
    metrics: Metrics | None = None


class DoneEvent(msgspec.Struct):
    """The data of the stream's last event; a reason only where the prediction did not succeed."""

    reason: str | None = None


decode_prediction = msgspec.json.Decoder(Prediction).decode
decode_done = msgspec.json.Decoder(DoneEvent).decode
