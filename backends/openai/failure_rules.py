"""What the vendors of the OpenAI chat wire mean by a code or a status, where it is not what everybody means.

Two things are told apart by them: our rate from their shortage (a shortage counts as load and is best answered by
asking somebody else), and an empty account from both.
"""

from __future__ import annotations

import re

from backends.errors import BadRequest, ContextTooLong, Overloaded, QuotaExhausted, RateLimited, UpstreamFault
from backends.failures.rules import FailureRules

GROQ = FailureRules(
    codes={
        # The model wrote no valid call or JSON: the same request does the same elsewhere, whatever words it wrote.
        "tool_use_failed": BadRequest,
        "json_validate_failed": BadRequest,
        "blocked_api_access": QuotaExhausted,
    },
    statuses={498: Overloaded, 503: Overloaded},
)
CEREBRAS = FailureRules(
    codes={
        "queue_exceeded": Overloaded,
        "request_quota_exceeded": RateLimited,
        "token_quota_exceeded": RateLimited,
    },
    statuses={503: Overloaded},
)
TOGETHER = FailureRules(
    # 429 is our rate, 503 their shortage; prompt and bound together past the window are 403.
    statuses={403: ContextTooLong, 503: Overloaded},
)
FIREWORKS = FailureRules(statuses={412: QuotaExhausted, 503: Overloaded})
MISTRAL = FailureRules(
    codes={"service_tier_capacity_exceeded": Overloaded, "3505": Overloaded, "1300": RateLimited},
    statuses={503: Overloaded},
)
OPENAI = FailureRules(codes={"slow_down": Overloaded})
AZURE = FailureRules(codes={"ratelimitreached": RateLimited, "nocapacity": Overloaded})
OPENROUTER = FailureRules(statuses={503: Overloaded})
# Every failure before the first token is a 404 with an exception's own words; unknown ones are of the model.
MLX = FailureRules(
    words=(
        (re.compile(r"generation thread died"), UpstreamFault),
        (re.compile(r"chat template|conversation roles|roles? (?:must|is not|not) |only .{1,40} roles? "), BadRequest),
    )
)
