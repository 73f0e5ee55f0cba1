"""What must hold of every family's decoder of a whole answer, for any bytes at all.

Whatever is wrong is one of `backends.errors`, which the executor knows how to act on; what is said does not depend on
where the bytes are cut; and what is passed on can be written down as UTF-8.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from backends.anthropic.decode import MessagesDecoder
from backends.aws.bedrock.decode import ConverseDecoder
from backends.aws.sagemaker.decode import PayloadDecoder
from backends.contract import Chunk, FinishReason
from backends.errors import BackendError
from backends.failures import classify
from backends.failures.rules import COMMON
from backends.gemini.decode import GeminiDecoder
from backends.http.exchange import Decoder
from backends.ollama.decode import OllamaDecoder
from backends.openai.decode import ChatDecoder
from backends.openai.profile import Profile
from backends.openai.profiles import PROFILES
from backends.replicate.decode import PredictionDecoder
from tools.fuzz.framing import pieces

# The exchange turns this one into a ProtocolViolation: it is how a JSON decoder says that a document nests too deeply.
_TOO_DEEP = RecursionError
_PROFILES = tuple(PROFILES.values())


def read_failure(body: bytes) -> BackendError:
    return classify.from_event(body, rules=COMMON)


class _Prediction:
    """Replicate's decoder in the form of the others. Its end is told by a prediction, and here nobody got one."""

    def __init__(self) -> None:
        self._inner = PredictionDecoder(read_failure=read_failure)

    @property
    def done(self) -> bool:
        return self._inner.done

    ended = done

    def feed(self, data: bytes) -> list[Chunk]:
        chunks = self._inner.feed(data)
        return chunks + (self._inner.finish(None, max_tokens=None) if self.done else [])

    def close(self) -> list[Chunk]:
        self._inner.interrupted()
        return self._inner.finish(None, max_tokens=None)

    def whole(self, body: bytes) -> list[Chunk]:
        return [*self.feed(body), *self.close()]


def _profile(chance: random.Random) -> Profile:
    return chance.choice(_PROFILES)


FAMILIES: Mapping[str, Callable[[random.Random], Decoder]] = MappingProxyType(
    {
        "openai_chat": lambda chance: ChatDecoder(_profile(chance), read_failure=read_failure),
        "anthropic": lambda _: MessagesDecoder(read_failure=read_failure),
        "gemini": lambda _: GeminiDecoder(read_failure=read_failure),
        "ollama": lambda chance: OllamaDecoder(read_failure=read_failure, num_ctx=chance.choice((None, 64))),
        "bedrock": lambda _: ConverseDecoder(read_failure=read_failure),
        "sagemaker": lambda chance: PayloadDecoder(_profile(chance), read_failure=read_failure),
        "replicate": lambda _: _Prediction(),
    }
)


@dataclass(slots=True)
class _Said:
    """An answer without how it was cut."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    finish: list[FinishReason] = field(default_factory=list)
    counts: tuple[int, ...] = ()
    error: str = ""


def check_family(name: str, data: bytes) -> None:
    """The stream that begins with the second byte; the first decides the rest."""
    chance = random.Random(data[:1])
    stream = data[1:]
    seed = chance.random()
    in_pieces, size = _read(FAMILIES[name](random.Random(seed)), pieces(stream, chance))
    at_once, _ = _read(FAMILIES[name](random.Random(seed)), [stream[:size]])
    if at_once.error or in_pieces.error:
        # Of two failures in one read the outer framing's is seen first, in two reads the earlier one's.
        assert at_once.error, f"{in_pieces.error!r} in pieces only"  # noqa: S101 - a check
        assert in_pieces.error, f"{at_once.error!r} at once only"  # noqa: S101 - a check
    else:
        assert at_once == in_pieces, "what is said depends on where the bytes are cut"  # noqa: S101 - a check
        assert len(at_once.finish) == 1, "an answer that is complete has one end"  # noqa: S101 - a check
    _read_whole(FAMILIES[name](random.Random(seed)), stream)


def _read(decoder: Decoder, reads: Iterable[bytes]) -> tuple[_Said, int]:
    """What was said, and how many bytes were read until it was complete."""
    said, size = _Said(), 0
    try:
        for read in reads:
            size += len(read)
            _take(said, decoder.feed(read))
            if decoder.done:
                return said, size
        _take(said, decoder.close())
    except BackendError as error:
        said.error = error.code
    except _TOO_DEEP:
        said.error = "PROTOCOL_VIOLATION"
    return said, size


def _read_whole(decoder: Decoder, body: bytes) -> None:
    try:
        _take(_Said(), decoder.whole(body))
    except (BackendError, _TOO_DEEP):
        return


def _take(said: _Said, chunks: list[Chunk]) -> None:
    for chunk in chunks:
        said.text += chunk.text
        said.reasoning += chunk.reasoning
        for delta in chunk.tool_calls:
            said.calls[delta.index] += [delta.name or "", delta.arguments]
        if chunk.finish_reason is not None:
            said.finish.append(chunk.finish_reason)
        if chunk.usage is not None:
            usage = chunk.usage
            said.counts = (usage.input, usage.cached_input, usage.cache_write_input, usage.output, usage.reasoning)
        for written in (chunk.text, chunk.reasoning, *(delta.arguments for delta in chunk.tool_calls)):
            written.encode()
