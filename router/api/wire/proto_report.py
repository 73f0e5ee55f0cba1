"""From the protobuf `ReportRequest` to what the director is told of a pick."""

from __future__ import annotations

import re

from router.api.wire.checks import Checks
from router.domain.outcome import PickReport, TokenUsage
from router.domain.tenant import DEFAULT_TENANT
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

_RESULT = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def decode_report(message: pb.ReportRequest, *, tenant: str = DEFAULT_TENANT) -> PickReport:
    """The report.

    Raises:
        InvalidRequest: with every violation that was found.
    """
    checks = Checks()
    checks.text("pick_id", message.pick_id, required=True)
    checks.text("backend", message.backend)
    if not _RESULT.fullmatch(message.result):
        checks.add("result", 'must be "OK" or a reason code in upper snake case, such as "TIMED_OUT"')
    ttft_s = checks.number("ttft_s", message.ttft_s, low=0) if message.HasField("ttft_s") else None
    e2e_s = checks.number("e2e_s", message.e2e_s, low=0) if message.HasField("e2e_s") else None
    if ttft_s is not None and e2e_s is not None and ttft_s > e2e_s:
        checks.add("ttft_s", "must not exceed e2e_s")
    retry_after_s: float | None = None
    if message.HasField("retry_after"):
        wait = message.retry_after
        retry_after_s = checks.number("retry_after", wait.seconds + wait.nanos * 1e-9, low=0)
    quality = checks.number("quality", message.quality, low=0, high=1) if message.HasField("quality") else None
    checks.raise_any()
    return PickReport(
        pick_id=message.pick_id,
        tenant=tenant,
        backend=message.backend,
        result=message.result,
        ttft_s=ttft_s,
        e2e_s=e2e_s,
        usage=_usage(message.usage) if message.HasField("usage") else None,
        retry_after_s=retry_after_s,
        quality=quality,
    )


def _usage(usage: common_pb2.Usage) -> TokenUsage:
    return TokenUsage(
        input=usage.input_tokens,
        cached_input=usage.cached_input_tokens,
        cache_write_input=usage.cache_write_input_tokens,
        output=usage.output_tokens,
        reasoning=usage.reasoning_tokens,
        estimated=usage.estimated,
    )
