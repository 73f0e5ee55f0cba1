"""How fast a model runs on an accelerator, as coefficients: a decision only multiplies and adds."""

from __future__ import annotations


class Speed:
    """The prior of one (model, accelerator, count) as coefficients, so that a decision only multiplies and adds.

    TPOT(b, ctx) = fixed + weights * touched(b) + b * (sequence + context * ctx + window * min(ctx, window_tokens)),
    prefill(n) = base + token * n + square * n^2, in seconds. `touched` is the share of the weights that a batch of b
    reads: 1 for a dense model.
    """

    def __init__(
        self,
        *,
        fixed_s: float,
        weights_s: float,
        sequence_s: float,
        context_s: float,
        expert_share: float,
        expert_miss: float,
        prefill_base_s: float,
        prefill_token_s: float,
        prefill_square_s: float = 0.0,
        window_s: float = 0.0,
        window_tokens: float = 0.0,
    ) -> None:
        self.fixed_s = fixed_s
        self.weights_s = weights_s
        self.sequence_s = sequence_s
        self.context_s = context_s
        self.expert_share = expert_share
        self.expert_miss = expert_miss
        self.prefill_base_s = prefill_base_s
        self.prefill_token_s = prefill_token_s
        self.prefill_square_s = prefill_square_s
        self.window_s = window_s
        self.window_tokens = window_tokens

    def tpot_s(self, batch: float, context_tokens: float) -> float:
        """Seconds per output token with `batch` sequences decoding at `context_tokens` each."""
        touched = 1.0
        if self.expert_share > 0.0:
            touched = 1.0 - self.expert_share * self.expert_miss ** max(1.0, batch)
        return self.fixed_s + self.weights_s * touched + batch * self.slope_s(context_tokens)

    def slope_s(self, context_tokens: float) -> float:
        """Seconds that one more sequence at `context_tokens` adds to every decode step of the others."""
        slope = self.sequence_s + self.context_s * context_tokens
        if self.window_s > 0.0:
            slope += self.window_s * min(context_tokens, self.window_tokens)
        return slope

    def answer_tpot_s(self, batch: float, context_tokens: float, prompt_tokens: float, output_tokens: float) -> float:
        """Seconds per output token over a whole answer, in a batch where each ends and the next one takes its place.

        Between two of its tokens the prompts of others are prefilled: as many per answer as there are others.
        """
        prefill = prompt_tokens * (self.prefill_token_s + self.prefill_square_s * prompt_tokens)
        return self.tpot_s(batch, context_tokens) + max(0.0, batch - 1.0) * prefill / max(1.0, output_tokens)

    def prefill_s(self, tokens: float) -> float:
        """Seconds to prefill `tokens` prompt tokens on an idle replica."""
        return self.prefill_base_s + tokens * (self.prefill_token_s + self.prefill_square_s * tokens)

    @property
    def prefill_tokens_per_s(self) -> float:
        return 1.0 / self.prefill_token_s if self.prefill_token_s > 0.0 else 1.0e12
