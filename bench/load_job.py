"""What the load generator is told and what it answers: one JSON object a line, each way."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from bench.upstream import TOKEN

MODEL = "llama-3.1-8b"
PROMPT = "hello " * 100
Face = Literal["http", "generate", "pick"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        streams: requests at a time, each lane on a connection of its own over HTTP.
        requests: of each lane, one after another.
        pause_ms: between two tokens of an answer; 0: all in one write.
        rate: so many requests a second, `requests` in all, in place of one after another in each lane; 0: not so.
        pids: the gateway's processes, whose CPU time is taken just before and just after.
    """

    face: Face
    address: str
    streams: int
    requests: int
    warm: int = 0
    tokens: int = 1
    pause_ms: int = 0
    stream: bool = True
    rate: float = 0.0
    pids: list[int] = []


class Report(msgspec.Struct, kw_only=True):
    """What came of a job. `after_us` is the CPU of what followed it (the reports of picks); times are seconds.

    `held_back` says that the error is `HeldBack`.
    """

    error: str = ""
    held_back: bool = False
    requests: int = 0
    cpu_us: float = 0.0
    after_us: float = 0.0
    wall_s: float = 0.0
    ttft_s: list[float] = []


class WrongAnswer(RuntimeError):
    """A gateway did not pass on what the upstream sent: its figure would mean nothing."""


class HeldBack(WrongAnswer):
    """Paced tokens came together: the gateway holds them back, or the machine stood still."""


class Driver(Protocol):
    """Sends the requests of one face. A lane is used by one request at a time."""

    pieces: int
    """In how many reads all answers came."""

    async def ask(self, lane: int) -> float:
        """One request; returns the seconds to its first token.

        Raises:
            WrongAnswer: the answer is not what the upstream sent.
        """
        ...

    async def after(self) -> None:
        """What belongs to the requests but not to the measurement."""
        ...


def verify(job: Job, text: str) -> None:
    """An answer has every token.

    Raises:
        WrongAnswer: it has not.
    """
    tokens = count(text)
    if tokens != job.tokens:
        raise WrongAnswer(f"{tokens} of {job.tokens} tokens: {text[:300]}")


def verify_pace(job: Job, *, answers: int, pieces: int) -> None:
    """Paced answers came bit by bit: a gateway that holds tokens back would look cheap.

    All answers are taken together, because a pause of the machine joins the tokens of a few.

    Raises:
        HeldBack: they did not.
    """
    least = answers * job.tokens // 2 if job.pause_ms else answers
    if pieces < least:
        raise HeldBack(f"{answers} answers of {job.tokens} tokens came in {pieces} pieces; at least {least} expected")


def count(text: str) -> int:
    """Tokens in a text of the upstream's."""
    return text.count(TOKEN)
