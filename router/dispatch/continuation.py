"""What a continued or restarted answer asks of the next backend.

A continued answer sends the text so far as the beginning of the assistant's turn; the next backend must be one that
goes on from there, which is a capability like any other. Tool calls, reasoning and log-probabilities cannot be cut in
two.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from backends.contract import Chunk, GenerateRequest, Message
from router.domain.fleet import Capability
from router.domain.request import RequestProfile, StreamBreakAction

# A text longer than this is not kept: a continued prompt of its size would cost more than it saves.
MAX_KEPT_CHARS = 400_000


class Transcript:
    """What the caller has been sent so far, as far as it may be needed again."""

    def __init__(self, action: StreamBreakAction) -> None:
        self._keep = action is StreamBreakAction.CONTINUE
        self._pieces: list[str] = []
        self._chars = 0
        self.tokens = 0
        self.whole = True

    def add(self, chunk: Chunk) -> None:
        """Notes a chunk that is about to be sent."""
        self.tokens += chunk.events
        if not self._keep:
            return
        if chunk.tool_calls or chunk.reasoning or chunk.logprobs or chunk.signed:
            self.whole = False
        self._chars += len(chunk.text)
        if self._chars > MAX_KEPT_CHARS:
            self.whole = False
        if self.whole:
            self._pieces.append(chunk.text)
        else:
            self._pieces.clear()

    def clear(self) -> None:
        """The caller was told to throw everything away."""
        self._pieces.clear()
        self._chars = self.tokens = 0
        self.whole = True

    @property
    def text(self) -> str:
        return "".join(self._pieces)


def continued_request(request: GenerateRequest, so_far: Transcript) -> GenerateRequest | None:
    """The request for the rest of the answer; None when there is nothing left to ask for or it cannot be continued."""
    if not so_far.whole:
        return None
    sampling = request.sampling
    if sampling.max_output_tokens is not None:
        left = sampling.max_output_tokens - so_far.tokens
        if left < 1:
            return None
        sampling = msgspec.structs.replace(sampling, max_output_tokens=left)
    if request.prompt is not None:
        return msgspec.structs.replace(request, prompt=request.prompt + so_far.text, sampling=sampling)
    messages = request.messages
    text = so_far.text
    if messages and messages[-1].role == "assistant" and isinstance(messages[-1].content, str):
        text = messages[-1].content + text
        messages = messages[:-1]
    messages = (*messages, Message(role="assistant", content=text))
    return msgspec.structs.replace(request, messages=messages, sampling=sampling)


def continued_profile(profile: RequestProfile, request: GenerateRequest, so_far: Transcript) -> RequestProfile:
    """The same constraints as before, a longer prompt, and a backend that continues an assistant's turn."""
    needs = profile.needs
    if request.prompt is None:
        needs |= {Capability.ASSISTANT_PREFILL}
    return replace(
        profile,
        needs=needs,
        input_tokens=profile.input_tokens + so_far.tokens,
        max_output_tokens=request.sampling.max_output_tokens,
    )
