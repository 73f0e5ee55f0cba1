"""Names that several dialects of the OpenAI chat wire share, to write their tables with."""

from __future__ import annotations

STRUCTURED = frozenset({"json_object", "json_schema"})
EVERYTHING = STRUCTURED | {"tools", "vision", "text_completion", "batch"}
CHAT_ONLY = EVERYTHING - {"text_completion"}

COMMON = ("temperature", "top_p", "stop")
PENALTIES = ("presence_penalty", "frequency_penalty")
LOGPROBS = ("logprobs", "top_logprobs")
OPEN_SAMPLERS = ("top_k", "min_p", "repetition_penalty")
