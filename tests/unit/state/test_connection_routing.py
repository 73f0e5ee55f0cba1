"""Who is asked: the key of a command, and what is made of many answers."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from router.state.client import Argument, first_key
from router.state.topology import ask_around


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "k"), "k"),
        (("hset", b"k", "f", "{v}"), "k"),
        (("XREAD", "COUNT", 5, "BLOCK", 100, "STREAMS", "k", "0"), "k"),
        (("XREADGROUP", "GROUP", "g", "c", "streams", "k", ">"), "k"),
        (("XINFO", "STREAM", "k"), "k"),
        (("MEMORY", "USAGE", "k"), "k"),
        (("PING",), None),
        (("INFO", "memory"), None),
        (("LASTSAVE",), None),
    ],
)
def test_the_key_of_a_command_is_found(command: tuple[Argument, ...], key: str | None) -> None:
    """Keys stand first, after a word, or after STREAMS; some commands have none."""
    assert first_key(command) == key


async def says(answer: str) -> str:
    return answer


async def fails(error: Exception) -> str:
    raise error


async def silent(heard: list[str]) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        heard.append("cancelled")
        raise
    return "never"


async def test_who_answers_is_heard_and_nobody_is_waited_for_long() -> None:
    """Broken and silent ones do not matter when others answer, and a silent one is let go."""
    heard: list[str] = []
    answers = await ask_around(
        [silent(heard), fails(RedisConnectionError("gone")), says("one"), fails(OSError()), says("two")],
        patience_s=0.01,
    )
    assert sorted(answers) == ["one", "two"]
    assert heard == ["cancelled"]


async def test_when_nobody_answers_the_telling_error_is_raised() -> None:
    """What a server said is told rather than that another could not be reached."""
    with pytest.raises(ResponseError, match="no such service"):
        await ask_around([fails(RedisConnectionError("gone")), fails(ResponseError("no such service"))])
    with pytest.raises(RedisConnectionError, match="gone"):
        await ask_around([fails(RedisConnectionError("gone"))])


async def test_a_caller_who_leaves_leaves_nothing_behind() -> None:
    """When asking is cut off, every question ends."""
    heard: list[str] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ask_around([silent(heard), silent(heard)])
    assert heard == ["cancelled", "cancelled"]
