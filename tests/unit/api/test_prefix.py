"""Prompts as chained hashes: equal names are equal beginnings, within one tenant."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.contract import GenerateRequest, ImagePart, Message, TextPart, Tool
from router.api.wire.estimate import estimate_input_tokens
from router.api.wire.openai_request import decode_chat
from router.api.wire.prefix import BLOCK_BYTES, given_blocks, prefix_blocks
from router.api.wire.proto_profile import decode_generate, decode_profile
from router.domain.prefix_cache import BLOCK_TOKENS, MAX_BLOCKS
from router.errors import InvalidRequest
from router.v1 import inference_pb2 as pb

TEXT = st.text(alphabet="ab \u00e9", min_size=0, max_size=3 * BLOCK_BYTES)


def hashed(*turns: str, tenant: str = "t", tools: tuple[Tool, ...] = ()) -> tuple[int, ...]:
    roles = ("system", "user", "assistant")
    messages = tuple(
        Message(role=roles[0] if not n else roles[2 - n % 2], content=text)  # type: ignore[arg-type]
        for n, text in enumerate(turns)
    )
    request = GenerateRequest(model="m", messages=messages, tools=tools)
    return prefix_blocks(request, tenant, estimate_input_tokens(request))


@given(first=TEXT, more=TEXT, other=TEXT)
def test_a_longer_conversation_keeps_the_names_of_its_beginning(first: str, more: str, other: str) -> None:
    """A turn that is added changes nothing of the blocks before it, and different beginnings share no name."""
    start = hashed("system" * 400, first)
    longer = hashed("system" * 400, first, more, other)
    assert longer[: len(start)] == start
    assert not set(hashed("another" * 400, first)) & set(start)


def test_a_change_renames_every_block_from_there_on() -> None:
    """A name is of everything up to the end of its block, not of the block alone."""
    text = "x" * 8 * BLOCK_BYTES
    place = 3 * BLOCK_BYTES + 100
    changed = f"{text[:place]}y{text[place + 1 :]}"
    one, other = hashed(text), hashed(changed)
    assert one[:3] == other[:3]
    assert not set(one[3:]) & set(other)


def test_tenants_have_nothing_in_common() -> None:
    """The same prompt of two tenants has other names throughout, given hashes as well."""
    text = "the same prompt " * 1000
    assert not set(hashed(text, tenant="one")) & set(hashed(text, tenant="two"))
    assert not set(given_blocks([1, 2, 3], "one", 512)) & set(given_blocks([1, 2, 3], "two", 512))


def test_tools_come_before_the_turns() -> None:
    """As in chat templates: other tools are another prompt from its first block on."""
    tool = Tool(name="look_up", parameters=msgspec.Raw(b'{"type": "object"}'))
    text = "x" * 4 * BLOCK_BYTES
    assert not set(hashed(text)) & set(hashed(text, tools=(tool,)))


def test_no_text_can_be_taken_for_a_turn() -> None:
    """What somebody said in two turns is not what he said in one."""
    assert not set(hashed("a", "b" * BLOCK_BYTES)) & set(hashed("ab" + "b" * BLOCK_BYTES))


def test_short_prompts_cost_nothing_and_long_ones_have_an_end() -> None:
    """Below one block nothing is hashed; of what is longer than all that are looked at, the beginning is."""
    assert hashed("x" * (BLOCK_BYTES // 2)) == ()
    assert len(hashed("x" * BLOCK_BYTES * (MAX_BLOCKS + 40))) == MAX_BLOCKS
    assert hashed("x" * BLOCK_BYTES * (MAX_BLOCKS + 40)) == hashed("x" * BLOCK_BYTES * (MAX_BLOCKS + 90))


def test_an_image_takes_as_much_as_it_is_taken_to_have_and_is_told_from_another() -> None:
    """Two pictures under one text are two prompts; the length of a data URL does not matter."""

    def shown(url: str) -> tuple[int, ...]:
        parts = (ImagePart(url=url), TextPart(text="y" * 2 * BLOCK_BYTES))
        request = GenerateRequest(model="m", messages=(Message(role="user", content=parts),))
        return prefix_blocks(request, "t", estimate_input_tokens(request))

    small, large = shown("data:image/png;base64,AAAA"), shown(f"data:image/png;base64,{'B' * 100_000}")
    assert len(small) == len(large) == 3
    assert not set(small) & set(large)


@given(hashes=st.lists(st.integers(0, 2**64 - 1), max_size=200), block_tokens=st.sampled_from((16, 64, 256, 512)))
def test_given_hashes_become_blocks_of_our_size(hashes: list[int], block_tokens: int) -> None:
    """Of finer blocks those are taken at which one of ours ends: each of them names everything before it."""
    found = given_blocks(hashes, "t", block_tokens)
    step = BLOCK_TOKENS // block_tokens
    assert len(found) == min(MAX_BLOCKS, len(hashes) // step)
    assert found == given_blocks(hashes[step - 1 :: step], "t", 512)


def test_both_faces_give_a_prompt_the_same_names() -> None:
    """A conversation that goes on over HTTP finds what it left over gRPC."""
    text = "x" * 3 * BLOCK_BYTES
    message = pb.GenerateRequest(model="m", messages=[pb.Message(role=pb.ROLE_USER, text=text)])
    _, by_grpc = decode_generate(message, request_id="r", deadline_s=None)
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}]})
    by_http = decode_chat(body, (), request_id="r", now=0.0).profile
    assert by_grpc.blocks == by_http.blocks
    assert len(by_grpc.blocks) == 3


def test_a_shape_may_bring_hashes_whose_blocks_divide_ours() -> None:
    """Who picks by shape has no prompt to show; sizes that do not fit are refused by name."""
    session = pb.SessionHints(prefix_block_hashes=list(range(64)), prefix_block_tokens=16)
    message = pb.PickRequest(
        shape=pb.RequestShape(model="m", input_tokens=2000), routing=pb.RoutingOptions(session=session)
    )
    profile = decode_profile(message, request_id="r", deadline_s=None, tenant="t")
    assert profile.blocks == given_blocks(range(64), "t", 16)
    session.prefix_block_tokens = 100
    message.routing.session.CopyFrom(session)
    with pytest.raises(InvalidRequest, match=r"routing\.session\.prefix_block_tokens.*must divide 512"):
        decode_profile(message, request_id="r", deadline_s=None)
