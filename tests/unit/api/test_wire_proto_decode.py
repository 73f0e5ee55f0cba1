"""Good requests from protobuf: what adapters get, and what routing learns."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from backends import contract
from router.api.wire.prefix import given_blocks
from router.api.wire.proto_profile import decode_generate, decode_profile
from router.api.wire.proto_report import decode_report
from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.outcome import TokenUsage
from router.domain.request import Objective, Placement, Priority, RequestProfile, Slo, StreamBreakAction
from router.errors import InvalidRequest
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as pb


def user(text: str = "hi") -> pb.Message:
    return pb.Message(role=pb.ROLE_USER, text=text)


def decode(message: pb.GenerateRequest) -> tuple[contract.GenerateRequest, RequestProfile]:
    return decode_generate(message, request_id="r1", deadline_s=7.0)


def test_the_smallest_request_takes_the_defaults() -> None:
    """A model and a message suffice; everything else is unset, not guessed."""
    request, profile = decode(pb.GenerateRequest(model="m", messages=[user("12345678")]))

    assert request == contract.GenerateRequest(model="m", messages=(contract.Message(role="user", content="12345678"),))
    assert profile == RequestProfile(request_id="r1", model="m", input_tokens=6.0, deadline_s=7.0)


def test_a_whole_conversation_is_carried_over() -> None:
    """Roles, parts, images, tool calls and tool results arrive as adapters send them."""
    message = pb.GenerateRequest(
        model="m",
        messages=[
            pb.Message(role=pb.ROLE_SYSTEM, text="be short"),
            pb.Message(
                role=pb.ROLE_USER,
                name="ann",
                parts=[
                    pb.ContentPart(text="what is it?"),
                    pb.ContentPart(image=pb.Image(data=b"\x00\x01", mime_type="image/png", detail="low")),
                    pb.ContentPart(image=pb.Image(url="https://example.org/a.png")),
                ],
            ),
            pb.Message(
                role=pb.ROLE_ASSISTANT,
                tool_calls=[
                    pb.ToolCall(id="c1", name="look", arguments_json='{"x": 1}', signature="s1"),
                    pb.ToolCall(id="c2", name="wait"),
                ],
                reasoning=[
                    pb.ReasoningBlock(text="hm", signature="s2"),
                    pb.ReasoningBlock(signature="data", redacted=True),
                    pb.ReasoningBlock(text="unsigned"),
                ],
            ),
            pb.Message(role=pb.ROLE_TOOL, tool_call_id="c1", text="a cat"),
        ],
        tools=[pb.Tool(name="look", description="looks", parameters_json='{"type":"object"}', strict=True)],
        tool_choice=pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_FUNCTION, name="look", parallel_tool_calls=False),
        end_user="u1",
    )

    request, profile = decode(message)

    assert request == contract.GenerateRequest(
        model="m",
        messages=(
            contract.Message(role="system", content="be short"),
            contract.Message(
                role="user",
                name="ann",
                content=(
                    contract.TextPart(text="what is it?"),
                    contract.ImagePart(url="data:image/png;base64,AAE=", detail="low"),
                    contract.ImagePart(url="https://example.org/a.png"),
                ),
            ),
            contract.Message(
                role="assistant",
                tool_calls=(
                    contract.ToolCall(id="c1", name="look", arguments='{"x": 1}', signature="s1"),
                    contract.ToolCall(id="c2", name="wait", arguments="{}"),
                ),
                reasoning=(
                    contract.ReasoningBlock(text="hm", signature="s2"),
                    contract.ReasoningBlock(signature="data", redacted=True),
                    contract.ReasoningBlock(text="unsigned"),
                ),
            ),
            contract.Message(role="tool", tool_call_id="c1", content="a cat"),
        ),
        tools=(
            contract.Tool(name="look", description="looks", parameters=msgspec.Raw(b'{"type":"object"}'), strict=True),
        ),
        tool_choice=contract.ToolChoice(mode="function", name="look", parallel=False),
        end_user="u1",
    )
    assert profile.needs == {Capability.TOOLS, Capability.VISION}


def test_sampling_keeps_unset_apart_from_zero() -> None:
    """A temperature of zero is sent; one that is not set is not."""
    given = pb.Sampling(
        temperature=0.0, seed=-1, top_k=4, stop=["a"], logprobs=True, top_logprobs=0, max_output_tokens=9
    )

    request, profile = decode(pb.GenerateRequest(model="m", prompt="p", sampling=given))

    assert request.sampling == contract.Sampling(
        temperature=0.0, seed=-1, top_k=4, stop=("a",), logprobs=True, top_logprobs=0, max_output_tokens=9
    )
    assert isinstance(request.sampling.top_k, int)
    assert profile.max_output_tokens == 9
    assert profile.parameters == {
        Parameter.TEMPERATURE,
        Parameter.SEED,
        Parameter.TOP_K,
        Parameter.STOP,
        Parameter.TOP_LOGPROBS,
        Parameter.MAX_OUTPUT_TOKENS,
    }


@dataclass(frozen=True)
class Shown:
    id: str
    request: pb.GenerateRequest
    needs: frozenset[Capability]


@pytest.mark.parametrize(
    "case",
    [
        Shown("nothing", pb.GenerateRequest(model="m", messages=[user()]), frozenset()),
        Shown("prompt", pb.GenerateRequest(model="m", prompt="p"), frozenset({Capability.TEXT_COMPLETION})),
        Shown(
            "prefill",
            pb.GenerateRequest(model="m", messages=[user(), pb.Message(role=pb.ROLE_ASSISTANT, text="Sure, ")]),
            frozenset({Capability.ASSISTANT_PREFILL}),
        ),
        Shown(
            "continue restricts the backend that takes over only",
            pb.GenerateRequest(
                model="m",
                messages=[user()],
                routing=pb.RoutingOptions(on_stream_break=pb.STREAM_BREAK_ACTION_CONTINUE),
            ),
            frozenset(),
        ),
        Shown(
            "json object",
            pb.GenerateRequest(model="m", messages=[user()], response_format=pb.ResponseFormat(json_object=True)),
            frozenset({Capability.JSON_OBJECT}),
        ),
        Shown(
            "json schema",
            pb.GenerateRequest(
                model="m",
                messages=[user()],
                response_format=pb.ResponseFormat(json_schema=pb.JsonSchema(name="s", schema_json="{}")),
            ),
            frozenset({Capability.JSON_SCHEMA}),
        ),
        Shown(
            "logprobs",
            pb.GenerateRequest(model="m", messages=[user()], sampling=pb.Sampling(logprobs=True)),
            frozenset({Capability.LOGPROBS}),
        ),
        Shown(
            "asked for",
            pb.GenerateRequest(
                model="m",
                messages=[user()],
                routing=pb.RoutingOptions(needs=pb.Needs(capabilities=[common.CAPABILITY_REASONING])),
            ),
            frozenset({Capability.REASONING}),
        ),
    ],
    ids=lambda case: case.id,
)
def test_needs_follow_from_what_the_request_shows(case: Shown) -> None:
    """Whatever a backend must be able to do is read from the request itself, beside what is asked for."""
    assert decode(case.request)[1].needs == case.needs


def test_every_routing_option_reaches_the_profile() -> None:
    """No option that the profile has a place for is lost on the way."""
    options = pb.RoutingOptions(
        needs=pb.Needs(
            capabilities=[common.CAPABILITY_TOOLS], minimum_quality=0.5, minimum_context_tokens=9_000, task="code"
        ),
        slo=common.Slo(ttft_s=0.5, tpot_s=0.0, probability=0.9, on_infeasible=common.SLO_INFEASIBLE_ACTION_REJECT),
        max_cost_usd=0.01,
        placement=common.Placement(
            privacy=common.PRIVACY_LEVEL_OWN_HARDWARE,
            regions=["eu-*"],
            only_backends=["a", "b"],
            excluded_backends=["b"],
        ),
        objective=pb.OBJECTIVE_COST,
        workload_class="batch",
        session=pb.SessionHints(session_id="s", shared_prefix_tokens=100, prefix_block_hashes=[1, 2]),
        priority=pb.PRIORITY_CRITICAL,
        on_stream_break=pb.STREAM_BREAK_ACTION_RESTART,
        idempotency_key="k",
        max_attempts=2,
        explain=True,
        labels={"team": "x"},
    )

    _, profile = decode(pb.GenerateRequest(model="m", prompt="p", routing=options))

    assert profile == RequestProfile(
        request_id="r1",
        model="m",
        input_tokens=1.0,
        needs=frozenset({Capability.TOOLS, Capability.TEXT_COMPLETION}),
        minimum_quality=0.5,
        minimum_context_tokens=9_000,
        task="code",
        slo=Slo(ttft_s=0.5, probability=0.9, reject_infeasible=True),
        max_cost_usd=0.01,
        placement=Placement(
            privacy=PrivacyLevel.OWN_HARDWARE, regions=("eu-*",), only_backends=("a", "b"), excluded_backends=("b",)
        ),
        objective=Objective.COST,
        workload_class="batch",
        session_key="s",
        shared_prefix_tokens=100,
        blocks=given_blocks([1, 2], "default", 512),
        priority=Priority.CRITICAL,
        on_stream_break=StreamBreakAction.RESTART,
        idempotency_key="k",
        max_attempts=2,
        explain=True,
        deadline_s=7.0,
    )


def test_a_choice_without_tools_is_not_sent() -> None:
    """'auto' without any tool says nothing, and engines that refuse it do not get to see it."""
    choice = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO)

    assert decode(pb.GenerateRequest(model="m", messages=[user()], tool_choice=choice))[0].tool_choice is None


@pytest.mark.parametrize("kind", [pb.PickRequest, pb.ExplainRequest])
def test_a_shape_gives_the_profile_without_a_prompt(kind: type[pb.PickRequest | pb.ExplainRequest]) -> None:
    """Pick and Explain take a request by its numbers, with routing options beside it."""
    message = kind(
        shape=pb.RequestShape(model="m", input_tokens=1_000, max_output_tokens=200, expected_output_tokens=50),
        routing=pb.RoutingOptions(objective=pb.OBJECTIVE_LATENCY),
    )

    assert decode_profile(message, request_id="r", deadline_s=None) == RequestProfile(
        request_id="r",
        model="m",
        input_tokens=1_000.0,
        max_output_tokens=200,
        expected_output_tokens=50.0,
        objective=Objective.LATENCY,
    )


def test_pick_and_generate_read_the_same_request_alike() -> None:
    """The same request has the same profile through whichever method it comes."""
    request = pb.GenerateRequest(
        model="m", messages=[user("x" * 400)], routing=pb.RoutingOptions(priority=pb.PRIORITY_SHEDDABLE)
    )

    assert decode_profile(pb.PickRequest(request=request), request_id="r1", deadline_s=7.0) == decode(request)[1]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (pb.PickRequest(), ("shape",)),
        (pb.PickRequest(shape=pb.RequestShape()), ("shape.model", "shape.input_tokens")),
        (
            pb.PickRequest(
                shape=pb.RequestShape(model="m", input_tokens=1, max_output_tokens=0, expected_output_tokens=0)
            ),
            ("shape.max_output_tokens", "shape.expected_output_tokens"),
        ),
        (
            pb.ExplainRequest(
                shape=pb.RequestShape(model="m", input_tokens=1), routing=pb.RoutingOptions(max_attempts=0)
            ),
            ("routing.max_attempts",),
        ),
        (
            pb.ExplainRequest(request=pb.GenerateRequest(model="m"), routing=pb.RoutingOptions(explain=True)),
            ("routing", "request.messages"),
        ),
    ],
)
def test_bad_shapes_are_named(message: pb.PickRequest | pb.ExplainRequest, fields: tuple[str, ...]) -> None:
    """Paths of Pick and Explain begin at their own message."""
    with pytest.raises(InvalidRequest) as caught:
        decode_profile(message, request_id="r", deadline_s=None)

    assert tuple(v.field for v in caught.value.violations) == fields


def test_a_report_is_carried_over() -> None:
    """What the caller measured reaches the director; what it did not is None, not zero."""
    message = pb.ReportRequest(pick_id="p", result="RATE_LIMITED", ttft_s=0.5, usage=common.Usage(input_tokens=3))
    message.retry_after.FromMilliseconds(1_500)

    report = decode_report(message)

    assert (report.pick_id, report.backend, report.result) == ("p", "", "RATE_LIMITED")
    assert (report.ttft_s, report.e2e_s, report.retry_after_s) == (0.5, None, 1.5)
    assert report.usage == TokenUsage(input=3)
    assert report.quality is None
    assert decode_report(pb.ReportRequest(pick_id="p", result="OK", quality=0.0)).quality == 0.0


def test_a_bad_report_is_refused() -> None:
    """A report names its pick and its result, and its times are possible."""
    message = pb.ReportRequest(result="went well", ttft_s=2.0, e2e_s=1.0, quality=1.5)
    message.retry_after.FromMilliseconds(-5)

    with pytest.raises(InvalidRequest) as caught:
        decode_report(message)

    assert [v.field for v in caught.value.violations] == ["pick_id", "result", "ttft_s", "retry_after", "quality"]
