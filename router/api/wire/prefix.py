"""The beginning of a prompt as chained hashes, for finding who has read it before; never its text.

Made while the request is decoded, in the order in which chat templates put things: tools and schema, then the turns.
Each name is a hash of everything up to the end of its block, so a common block means a common beginning. Names begin
with the tenant's, so that equal prompts of two tenants have nothing in common; they are the same in every replica, so
that replicas that share nothing send equal beginnings to the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from backends.contract import GenerateRequest, ImagePart, Message
from router.api.wire.estimate import CHARS_PER_TOKEN, TOKENS_PER_IMAGE
from router.domain.prefix_cache import BLOCK_TOKENS, MAX_BLOCKS

# UTF-8 bytes: what the estimate of tokens takes for a block where a character is one.
BLOCK_BYTES = int(BLOCK_TOKENS * CHARS_PER_TOKEN)
_LIMIT = BLOCK_BYTES * MAX_BLOCKS
_NAME_BYTES = 8
# Between what was said by whom: no text can be taken for a turn of its own.
_MARK = "\x00"


def prefix_blocks(request: GenerateRequest, tenant: str, input_tokens: float) -> tuple[int, ...]:
    """The whole blocks of a prompt of about `input_tokens` tokens; empty for one that is shorter than a block."""
    if input_tokens < BLOCK_TOKENS:
        return ()
    pieces: list[bytes] = []
    size = 0
    for text in _texts(request):
        # A lone surrogate is no text that any backend would take; it must not end the request here.
        piece = text.encode("utf-8", "surrogatepass")
        pieces.append(piece)
        size += len(piece)
        if size >= _LIMIT:
            break
    prompt = memoryview(b"".join(pieces))
    chain = _chain(tenant)
    blocks: list[int] = []
    for end in range(BLOCK_BYTES, min(size, _LIMIT) + 1, BLOCK_BYTES):
        chain.update(prompt[end - BLOCK_BYTES : end])
        blocks.append(int.from_bytes(chain.digest(), "little"))
    return tuple(blocks)


def given_blocks(hashes: Sequence[int], tenant: str, block_tokens: int) -> tuple[int, ...]:
    """What a caller who knows the hashes of its prompt's blocks of `block_tokens` tokens (a divisor of ours) gives.

    Each of them must name the prompt up to its end.
    """
    step = BLOCK_TOKENS // block_tokens
    salt = _chain(tenant)
    blocks: list[int] = []
    for number in hashes[step - 1 : step * MAX_BLOCKS : step]:
        name = salt.copy()
        name.update(number.to_bytes(8, "little"))
        blocks.append(int.from_bytes(name.digest(), "little"))
    return tuple(blocks)


def _chain(tenant: str) -> blake2b:
    return blake2b(f"{len(tenant)}:{tenant}".encode(), digest_size=_NAME_BYTES)


def _texts(request: GenerateRequest) -> Iterator[str]:
    for tool in request.tools:
        yield f"{_MARK}tool{_MARK}{tool.name}{_MARK}{tool.description or ''}{_MARK}{_raw(tool.parameters)}"
    if request.response_format is not None:
        yield f"{_MARK}schema{_MARK}{_raw(request.response_format.schema)}"
    if request.prompt is not None:
        yield request.prompt
    for message in request.messages:
        yield from _turn(message)


def _turn(message: Message) -> Iterator[str]:
    yield f"{_MARK}{message.role}{_MARK}{message.name or ''}{_MARK}"
    content = message.content
    if isinstance(content, str):
        yield content
    else:
        for part in content:
            yield _image(part) if isinstance(part, ImagePart) else part.text
    for call in message.tool_calls:
        yield f"{_MARK}call{_MARK}{call.name}{_MARK}{call.arguments}"


def _image(part: ImagePart) -> str:
    """As many characters as an image is taken to have, made of its name's hash: a data URL is no text."""
    digest = blake2b(part.url.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return digest * int(TOKENS_PER_IMAGE * CHARS_PER_TOKEN / len(digest))


def _raw(document: msgspec.Raw | None) -> str:
    return bytes(document).decode("utf-8", "replace") if document is not None else ""
