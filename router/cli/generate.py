"""`generate`: one request, its tokens on stdout as they arrive and one line about it on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from router.cli.options import SECONDS
from router.cli.request import build_request, request_options
from router.cli.rpc import EXIT_FAILED, address_option, connected, inference_stub, json_option
from router.cli.show import dollars, enum_name, hardware, print_event, seconds
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb


@click.command()
@request_options
@click.option("--timeout", **SECONDS, help="Deadline of the whole request. Default: none.")
@address_option
@json_option
def generate(*, address: str, as_json: bool, timeout: float | None, **options: Any) -> None:
    """Generates an answer to PROMPT (or to stdin) and streams it.

    The answer goes to stdout, everything else to stderr. With --json each event is one JSON object a line.
    """
    request = build_request(options)
    with connected(address, as_json=as_json) as channel:
        call = inference_stub(channel).Generate(request, timeout=timeout)
        try:
            finished = _relay(call, as_json=as_json)
        finally:
            call.cancel()
    if finished is None or finished.reason == common_pb2.FINISH_REASON_ERROR:
        raise SystemExit(EXIT_FAILED)


class _Answer:
    """What was printed so far, for the summary."""

    def __init__(self) -> None:
        self.routed: pb.Routed | None = None
        self.calls: dict[int, list[str]] = {}
        self.open_line = False

    def write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        if text:
            self.open_line = not text.endswith("\n")

    def end_line(self) -> None:
        if self.open_line:
            self.write("\n")


def _relay(call: Iterable[pb.GenerateResponse], *, as_json: bool) -> pb.Finished | None:
    """Prints every event; the last one if the answer is whole."""
    answer = _Answer()
    finished: pb.Finished | None = None
    try:
        for event in call:
            if event.HasField("finished"):
                finished = event.finished
            if as_json:
                print_event(event)
            else:
                _show(event, answer)
    finally:
        # A broken answer must not run into the error message.
        answer.end_line()
    if finished is not None and not as_json:
        click.echo(summary(answer.routed, finished), err=True)
    return finished


def _show(event: pb.GenerateResponse, answer: _Answer) -> None:
    if event.HasField("routed"):
        answer.routed = event.routed
    if event.HasField("rerouted"):
        answer.end_line()
        answer.routed = event.rerouted.to
        again = event.rerouted.resume == pb.STREAM_BREAK_ACTION_RESTART
        if again:
            answer.calls.clear()
        click.echo(
            f"rerouted from {event.rerouted.from_backend} to {event.rerouted.to.backend}: {event.rerouted.reason}"
            f"{'; the answer starts over' if again else ''}",
            err=True,
        )
    if event.HasField("delta"):
        if event.delta.reasoning.text:
            click.echo(event.delta.reasoning.text, nl=False, err=True)
        answer.write(event.delta.text.text)
        for piece in event.delta.tool_calls:
            name, arguments = answer.calls.setdefault(piece.index, ["", ""])
            answer.calls[piece.index] = [name or piece.name, arguments + piece.arguments_json]
    if event.HasField("finished"):
        answer.end_line()
        for name, arguments in answer.calls.values():
            answer.write(f"{name}({arguments})\n")


def summary(routed: pb.Routed | None, finished: pb.Finished) -> str:
    """Who answered on what, how long it took against what was predicted, and what it cost."""
    predicted_ttft = predicted_tpot = ""
    if routed is not None:
        predicted_ttft = f" (predicted {seconds(routed.prediction.ttft.mean)})"
        predicted_tpot = f" (predicted {seconds(routed.prediction.tpot.mean)})"
    usage, timings = finished.usage, finished.timings
    parts = [
        f"{finished.backend} on {hardware(finished.hardware)}",
        finished.model,
        enum_name(common_pb2.FinishReason.Name(finished.reason), "FINISH_REASON_"),
        f"{usage.input_tokens} in / {usage.output_tokens} out{' (counted here)' if usage.estimated else ''}",
        f"TTFT {seconds(timings.ttft_s)}{predicted_ttft}",
        f"TPOT {seconds(timings.tpot_s)}{predicted_tpot}",
        f"total {seconds(timings.e2e_s)}",
        dollars(finished.cost_usd),
    ]
    if len(finished.attempts) > 1:
        parts.append("attempts: " + ", ".join(f"{a.backend} {a.result}" for a in finished.attempts))
    return "[" + " | ".join(parts) + "]"
