"""`generate`, `explain` and `models` over a real gRPC connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.domain.decision import Drop, DropReason, HardwareLabel
from router.errors import InvalidRequest, NoEndpoint, Shed, StreamBroken, Violation
from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb

H100 = common_pb2.Hardware(id="h100", name="NVIDIA H100", count=4, emulated=True)


def estimate(mean: float) -> common_pb2.Estimate:
    return common_pb2.Estimate(mean=mean)


ROUTED = pb.Routed(
    backend="h100",
    model="llama-3.1-8b",
    hardware=H100,
    prediction=common_pb2.Prediction(ttft=estimate(0.1), tpot=estimate(0.005)),
)
FINISHED = pb.Finished(
    reason=common_pb2.FINISH_REASON_STOP,
    usage=common_pb2.Usage(input_tokens=12, output_tokens=3),
    cost_usd=0.000036,
    timings=pb.Timings(ttft_s=0.123, tpot_s=0.0061, e2e_s=1.5),
    backend="h100",
    model="llama-3.1-8b",
    hardware=H100,
)


def text(words: str) -> pb.GenerateResponse:
    return pb.GenerateResponse(delta=pb.Delta(text=pb.TextDelta(text=words, events=1)))


ANSWER = [pb.GenerateResponse(routed=ROUTED), text("Hello"), text(" world"), pb.GenerateResponse(finished=FINISHED)]


def test_the_answer_is_on_stdout_and_the_summary_on_stderr(router: Any, inference: Any) -> None:
    """The answer is alone on stdout; stderr is one line: who, on what, how fast against the prediction, how dear."""
    inference.events = ANSWER

    result = router.run("generate", "hi")

    assert result.exit_code == 0
    assert result.stdout == "Hello world\n"
    assert result.stderr == (
        "[h100 on 4x NVIDIA H100 (emulated) | llama-3.1-8b | stop | 12 in / 3 out | TTFT 0.123 s (predicted 0.1 s)"
        " | TPOT 6.1 ms (predicted 5 ms) | total 1.5 s | $0.000036]\n"
    )


def test_json_is_one_object_per_event(router: Any, inference: Any) -> None:
    """With --json every event is a line of JSON, in the names of the .proto, and nothing else is printed."""
    inference.events = ANSWER

    result = router.run("generate", "hi", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]

    assert [next(iter(event)) for event in events] == ["routed", "delta", "delta", "finished"]
    assert events[1]["delta"]["text"]["text"] == "Hello"
    assert events[3]["finished"]["usage"]["output_tokens"] == "3"
    assert result.stderr == ""


def test_every_flag_is_in_the_request(router: Any, inference: Any) -> None:
    """Each option becomes its field, durations with or without a unit."""
    inference.events = ANSWER
    flags = (
        "--model fast-chat --system be-short --max-tokens 9 --temperature 0.5 --seed 7 --stop END --json-object"
        " --need tools --min-quality 0.5 --min-context 4096 --task code --ttft 300ms --tpot 0.02 --e2e 2"
        " --slo-probability 0.8 --reject-infeasible --max-cost 0.01 --privacy own-hardware --region eu-*"
        " --only a --only b --exclude c --objective cost --class batch --session s"
        " --priority critical --on-break restart --max-attempts 2 --timeout 20s"
    )

    result = router.run("generate", "hi", *flags.split())

    assert result.exit_code == 0, result.output
    assert inference.requests == [
        pb.GenerateRequest(
            model="fast-chat",
            messages=[
                pb.Message(role=pb.ROLE_SYSTEM, text="be-short"),
                pb.Message(role=pb.ROLE_USER, text="hi"),
            ],
            sampling=pb.Sampling(max_output_tokens=9, temperature=0.5, seed=7, stop=["END"]),
            response_format=pb.ResponseFormat(json_object=True),
            routing=pb.RoutingOptions(
                needs=pb.Needs(
                    capabilities=[common_pb2.CAPABILITY_TOOLS],
                    minimum_quality=0.5,
                    minimum_context_tokens=4096,
                    task="code",
                ),
                slo=common_pb2.Slo(
                    ttft_s=0.3,
                    tpot_s=0.02,
                    e2e_s=2.0,
                    probability=0.8,
                    on_infeasible=common_pb2.SLO_INFEASIBLE_ACTION_REJECT,
                ),
                max_cost_usd=0.01,
                placement=common_pb2.Placement(
                    privacy=common_pb2.PRIVACY_LEVEL_OWN_HARDWARE,
                    regions=["eu-*"],
                    only_backends=["a", "b"],
                    excluded_backends=["c"],
                ),
                objective=pb.OBJECTIVE_COST,
                workload_class="batch",
                session=pb.SessionHints(session_id="s"),
                priority=pb.PRIORITY_CRITICAL,
                on_stream_break=pb.STREAM_BREAK_ACTION_RESTART,
                max_attempts=2,
            ),
        )
    ]
    assert inference.deadlines[0] == pytest.approx(20.0, abs=1.0)


def test_a_plain_request_sets_nothing_but_prompt_and_model(router: Any, inference: Any) -> None:
    """What was not asked for stays unset, so that the router's own defaults hold."""
    inference.events = ANSWER

    router.run("generate", "hi", "-m", "m")

    (request,) = inference.requests
    bare = pb.GenerateRequest(model="m", messages=[pb.Message(role=pb.ROLE_USER, text="hi")])
    bare.routing.SetInParent()
    bare.sampling.SetInParent()
    request.routing.SetInParent()
    request.sampling.SetInParent()
    assert request == bare


@pytest.mark.parametrize("arguments", [["generate"], ["generate", "-"]])
def test_the_prompt_may_come_from_stdin(router: Any, inference: Any, arguments: list[str]) -> None:
    """Without a PROMPT, or with "-", stdin is the prompt."""
    inference.events = ANSWER

    router.run(*arguments, stdin="from a pipe\n")

    assert inference.requests[0].messages[0].text == "from a pipe\n"


def test_a_raw_prompt_has_no_messages(router: Any, inference: Any) -> None:
    """--completion sends the prompt without a chat template."""
    inference.events = ANSWER

    router.run("generate", "Once upon", "--completion")

    assert inference.requests[0].prompt == "Once upon"
    assert not inference.requests[0].messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", " "], "the prompt is empty"),
        (["generate", "hi", "--ttft", "3 parsecs"], "wrong unit 'parsecs'"),
        (["generate", "hi", "--ttft", "-1"], "must not be negative"),
        (["generate", "hi", "--privacy", "none"], "'none' is not one of"),
        (["generate", "hi", "--completion", "--system", "x"], "--system needs messages"),
    ],
)
def test_wrong_usage_is_exit_code_2(router: Any, arguments: list[str], message: str) -> None:
    """A flag that makes no sense is refused before anything is sent."""
    result = router.run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_tool_calls_are_put_together(router: Any, inference: Any) -> None:
    """The pieces of a call are printed as one line, after the text."""
    first = pb.ToolCallDelta(index=0, id="1", name="weather", arguments_json='{"city":')
    second = pb.ToolCallDelta(index=0, arguments_json='"Oslo"}')
    inference.events = [
        ANSWER[0],
        pb.GenerateResponse(delta=pb.Delta(tool_calls=[first])),
        pb.GenerateResponse(delta=pb.Delta(tool_calls=[second])),
        ANSWER[-1],
    ]

    assert router.run("generate", "hi").stdout == 'weather({"city":"Oslo"})\n'


def test_a_rerouted_answer_says_so(router: Any, inference: Any) -> None:
    """When the answer starts over, stderr says why and from whom."""
    rerouted = pb.Rerouted(
        from_backend="h100",
        to=pb.Routed(backend="groq", hardware=H100),
        reason="STREAM_BROKEN",
        resume=pb.STREAM_BREAK_ACTION_RESTART,
    )
    inference.events = [*ANSWER[:2], pb.GenerateResponse(rerouted=rerouted), *ANSWER[1:]]

    result = router.run("generate", "hi")

    assert result.stdout == "Hello\nHello world\n"
    assert "rerouted from h100 to groq: STREAM_BROKEN; the answer starts over" in result.stderr


def test_an_error_names_reason_fields_and_hint(router: Any, inference: Any) -> None:
    """A refused request shows its reason, each field at fault and what to do, and never a traceback."""
    inference.error = InvalidRequest(
        Violation("sampling.top_p", "must be at most 1"), Violation("messages", "is empty")
    )

    result = router.run("generate", "hi")

    assert result.exit_code == 1
    assert result.stderr == (
        "error: INVALID_REQUEST: sampling.top_p: must be at most 1; messages: is empty\n"
        "  hint: Correct the named field and send the request again.\n"
    )


def test_an_error_after_text_starts_on_a_line_of_its_own(router: Any, inference: Any) -> None:
    """What came before a broken stream stays readable, and the exit code says that it broke."""
    inference.events, inference.error = ANSWER[:2], StreamBroken("the stream of h100 ended early")

    result = router.run("generate", "hi")

    assert result.exit_code == 1
    assert result.stdout == "Hello\n"
    assert result.stderr.startswith("error: STREAM_BROKEN: the stream of h100 ended early\n  hint: ")


def test_an_error_as_json(router: Any, inference: Any) -> None:
    """With --json the error is one object on stderr, with the facts apart."""
    drop = Drop(
        backend="a", reason=DropReason.PRIVACY, detail="too far", hardware=HardwareLabel(id="hosted", name="hosted")
    )
    inference.error = NoEndpoint("nothing can serve this", drops=(drop,))

    result = router.run("generate", "hi", "--json")
    error = json.loads(result.stderr)["error"]

    assert (error["reason"], error["status"]) == ("NO_ENDPOINT", "FAILED_PRECONDITION")
    assert error["metadata"] == {"drop/a": "PRIVACY"}
    assert error["request_id"] == "req-1"


def test_waiting_is_said_where_it_helps(router: Any, inference: Any) -> None:
    """The time after which to try again is shown."""
    inference.error = Shed("too busy", retry_after_s=1.5)

    assert "  retry after: 1.5 s\n" in router.run("generate", "hi").stderr


@pytest.mark.parametrize("command", [["generate", "hi"], ["explain", "hi"], ["models"], ["admin", "backends", "list"]])
def test_an_absent_router_is_exit_code_3(nobody: Any, command: list[str]) -> None:
    """Nobody at the address: which address, and how to start one."""
    result = nobody.run(*command)

    assert result.exit_code == 3
    assert result.stderr == (
        "error: UNREACHABLE: no router answers at 127.0.0.1:1\n"
        "  hint: Start one with 'inference-router serve --config config/', or name another with --address.\n"
    )


def test_the_wrong_port_is_suspected(admin_router: Any) -> None:
    """A generation sent to the admin port says what is likely wrong."""
    result = admin_router.run("generate", "hi")

    assert result.exit_code == 1
    assert "is the right port" not in result.stderr
    assert "the right port? Generation and administration have one each." in result.stderr


DECISION = common_pb2.Decision(
    backend="h100",
    model="llama-3.1-8b",
    candidates=[
        common_pb2.CandidateReport(
            backend="h100",
            model="llama-3.1-8b",
            hardware=H100,
            prediction=common_pb2.Prediction(
                ttft=estimate(0.1), tpot=estimate(0.005), probability_ttft=0.9, probability_tpot=1, probability_e2e=1
            ),
            objective_usd=0.003,
            terms=[
                common_pb2.ObjectiveTerm(name="money", usd=0.001),
                common_pb2.ObjectiveTerm(name="latency", usd=0.002),
            ],
            slo_feasible=False,
        )
    ],
    drops=[common_pb2.Drop(backend="groq", reason="PRIVACY", detail="guarantees [no_training]", hardware=H100)],
    why="least of one",
    workload_class="interactive",
    decision_time_s=0.00005,
)


def test_explain_shows_each_term_and_each_drop(router: Any, inference: Any) -> None:
    """Candidates with every term in dollars, drops with reason and detail, and the answer to --why-not."""
    inference.decision = DECISION

    result = router.run("explain", "hi", "--why-not", "groq")
    words = result.stdout

    assert result.exit_code == 0
    assert "Chosen: h100 (llama-3.1-8b). least of one" in words
    for expected in ("money", "$0.0010", "latency", "$0.0020", "$0.0030", " !", "4x NVIDIA H100"):
        assert expected in words
    assert max(len(line) for line in words.splitlines()) <= 120
    for expected in ("groq", "PRIVACY", "guarantees [no_training]", "Why not groq: it costs more"):
        assert expected in words


def test_explaining_sets_no_deadline_of_its_own(router: Any, inference: Any) -> None:
    """A deadline would weigh in the decision, so there is none unless it is asked for."""
    inference.decision = DECISION

    router.run("explain", "hi")
    router.run("explain", "hi", "--timeout", "30s")

    # gRPC reports an absent deadline as one that is centuries away.
    assert inference.deadlines[0] is None or inference.deadlines[0] > 1e6
    assert inference.deadlines[1] == pytest.approx(30.0, abs=1.0)


def test_explaining_a_refusal_is_exit_code_1(router: Any, inference: Any) -> None:
    """When nothing could serve, the drops are shown and the exit code says so."""
    inference.decision = common_pb2.Decision(why="nothing can serve this", drops=DECISION.drops)

    result = router.run("explain", "hi")

    assert result.exit_code == 1
    assert "Refused: nothing can serve this" in result.stdout
    assert "PRIVACY" in result.stdout


def test_explain_as_json(router: Any, inference: Any) -> None:
    """--json is the response itself."""
    inference.decision = DECISION

    decision = json.loads(router.run("explain", "hi", "--json").stdout)["decision"]

    assert decision["candidates"][0]["terms"] == [{"name": "money", "usd": 0.001}, {"name": "latency", "usd": 0.002}]


def test_models_lists_names(router: Any) -> None:
    """Every name that may be asked for, with what it stands for."""
    table = router.run("models").stdout
    listed = json.loads(router.run("models", "--json").stdout)["models"]

    assert "fast-chat" in table
    assert listed[0]["members"] == ["llama-3.1-8b"]
