"""How long an answer is expected to be. Plain typed attributes: it compiles to native code unchanged."""

from __future__ import annotations


class Length:
    """Output tokens of one answer, the caller's limit taken into account.

    `tokens` is their mean and `variance` theirs, `p90` the 90 % quantile; `mean_log` and `sd_log` are of the logarithm
    without the limit. `tenant` and `workload` say whose history it is.
    """

    def __init__(
        self,
        tokens: float,
        *,
        variance: float = 0.0,
        p90: float = 0.0,
        mean_log: float = 0.0,
        sd_log: float = 0.0,
        tenant: str = "",
        workload: str = "",
    ) -> None:
        self.tokens = tokens
        self.variance = variance
        self.p90 = max(tokens, p90)
        self.mean_log = mean_log
        self.sd_log = sd_log
        self.tenant = tenant
        self.workload = workload
        # The mean context of such an answer and its logarithm, kept by whoever predicts.
        self.context_tokens = -1.0
        self.context_log = 0.0
