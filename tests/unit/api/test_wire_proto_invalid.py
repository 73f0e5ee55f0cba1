"""Bad requests, and the path of the field that each is refused for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from google.protobuf.struct_pb2 import Struct

from router.api.wire.checks import MAX_IMAGE_BYTES, MAX_VIOLATIONS
from router.api.wire.proto_profile import MAX_PREFIX_HASHES, decode_generate
from router.api.wire.proto_request import MAX_MESSAGES
from router.errors import InvalidRequest
from router.v1 import common_pb2 as common
from router.v1 import inference_pb2 as pb

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Case:
    """A request that is right but for `wrong`, and the paths that must be named."""

    id: str
    wrong: pb.GenerateRequest
    fields: tuple[str, ...]


def user(text: str = "hi") -> pb.Message:
    return pb.Message(role=pb.ROLE_USER, text=text)


def parts(*content: pb.ContentPart) -> pb.GenerateRequest:
    return pb.GenerateRequest(model="m", messages=[pb.Message(role=pb.ROLE_USER, parts=content)])


def image(**fields: str | bytes) -> pb.GenerateRequest:
    return parts(pb.ContentPart(image=pb.Image(**fields)))  # type: ignore[arg-type]  # a table of any field


def said(*messages: pb.Message) -> pb.GenerateRequest:
    return pb.GenerateRequest(model="m", messages=messages)


def tools(*given: pb.Tool, choice: pb.ToolChoice | None = None) -> pb.GenerateRequest:
    return pb.GenerateRequest(model="m", messages=[user()], tools=given, tool_choice=choice)


def call(**fields: str) -> pb.GenerateRequest:
    return said(user(), pb.Message(role=pb.ROLE_ASSISTANT, tool_calls=[pb.ToolCall(**fields)]))


def thought(*blocks: pb.ReasoningBlock) -> pb.GenerateRequest:
    return said(pb.Message(role=pb.ROLE_ASSISTANT, text="x", reasoning=blocks), user())


def answer(**fields: bool | pb.JsonSchema) -> pb.GenerateRequest:
    form = pb.ResponseFormat(**fields)  # type: ignore[arg-type]  # a table of any field
    return pb.GenerateRequest(model="m", messages=[user()], response_format=form)


def sampling(**fields: float | list[str] | str) -> pb.GenerateRequest:
    given = pb.Sampling(**fields)  # type: ignore[arg-type]  # a table of any field
    return pb.GenerateRequest(model="m", messages=[user()], sampling=given)


def routing(options: pb.RoutingOptions) -> pb.GenerateRequest:
    return pb.GenerateRequest(model="m", messages=[user()], routing=options)


def slo(**fields: float) -> pb.GenerateRequest:
    return routing(pb.RoutingOptions(slo=common.Slo(**fields)))  # type: ignore[arg-type]  # a table of any field


def placed(**fields: list[str] | int) -> pb.GenerateRequest:
    given = common.Placement(**fields)  # type: ignore[arg-type]  # a table of any field
    return routing(pb.RoutingOptions(placement=given))


def metadata(size: int) -> pb.GenerateRequest:
    given = Struct()
    given.update({"a": "x" * size})
    return pb.GenerateRequest(model="m", messages=[user()], metadata=given)


F = pb.TOOL_CHOICE_MODE_FUNCTION
IMG = "messages[0].parts[0].image"
PRE = "routing.session.prefix_block_hashes"

CONTENT = (
    Case("no model", pb.GenerateRequest(messages=[user()]), ("model",)),
    Case("control character in model", pb.GenerateRequest(model="m\n", messages=[user()]), ("model",)),
    Case("long model", pb.GenerateRequest(model="m" * 257, messages=[user()]), ("model",)),
    Case("neither", pb.GenerateRequest(model="m"), ("messages",)),
    Case("both", pb.GenerateRequest(model="m", messages=[user()], prompt="p"), ("prompt",)),
    Case("prompt with tools", pb.GenerateRequest(model="m", prompt="p", tools=[pb.Tool(name="t")]), ("tools",)),
    Case("no role", said(user(), pb.Message(text="x")), ("messages[1].role",)),
    Case("unknown role", said(pb.Message(role=9, text="x")), ("messages[0].role",)),  # type: ignore[arg-type]  # on purpose
    Case("many messages", said(*[user()] * (MAX_MESSAGES + 1)), ("messages",)),
    Case(
        "text and parts",
        said(pb.Message(role=pb.ROLE_USER, text="x", parts=[pb.ContentPart(text="y")])),
        ("messages[0].text",),
    ),
    Case(
        "reasoning of a user",
        said(pb.Message(role=pb.ROLE_USER, text="x", reasoning=[pb.ReasoningBlock(text="hm")])),
        ("messages[0].reasoning",),
    ),
    Case("empty reasoning", thought(pb.ReasoningBlock()), ("messages[0].reasoning[0]",)),
    Case("redacted text", thought(pb.ReasoningBlock(text="x", redacted=True)), ("messages[0].reasoning[0]",)),
    Case("redacted nothing", thought(pb.ReasoningBlock(redacted=True)), ("messages[0].reasoning[0]",)),
    Case("much reasoning", thought(*[pb.ReasoningBlock(text="x")] * 257), ("messages[0].reasoning",)),
    Case("empty part", parts(pb.ContentPart(text="a"), pb.ContentPart()), ("messages[0].parts[1]",)),
    Case("many parts", parts(*[pb.ContentPart(text="a")] * 257), ("messages[0].parts",)),
    Case("image without source", parts(pb.ContentPart(image=pb.Image(mime_type="image/png"))), (IMG,)),
    Case("image bytes without type", image(data=b"x"), (f"{IMG}.mime_type",)),
    Case("image bytes of a wrong type", image(data=b"x", mime_type="text/html"), (f"{IMG}.mime_type",)),
    Case("no image bytes", image(data=b"", mime_type="image/png"), (f"{IMG}.data",)),
    Case("file URL", image(url="file:///etc/passwd"), (f"{IMG}.url",)),
    Case("no scheme", image(url="example.org/a.png"), (f"{IMG}.url",)),
    Case("no host", image(url="https://"), (f"{IMG}.url",)),
    Case("empty URL", image(url=""), (f"{IMG}.url",)),
    Case("URL with a line break", image(url="https://example.org/\r\nx"), (f"{IMG}.url",)),
    Case("long URL", image(url="https://example.org/" + "a" * 9_000), (f"{IMG}.url",)),
    Case("data URL that is no image", image(url="data:text/html;base64,AAAA"), (f"{IMG}.url",)),
    Case("wrong detail", image(url="https://example.org/a.png", detail="huge"), (f"{IMG}.detail",)),
    Case("tool result without id", said(pb.Message(role=pb.ROLE_TOOL, text="4")), ("messages[0].tool_call_id",)),
    Case(
        "tool id on another role",
        said(pb.Message(role=pb.ROLE_USER, text="4", tool_call_id="c1")),
        ("messages[0].tool_call_id",),
    ),
    Case(
        "tool calls of a user",
        said(pb.Message(role=pb.ROLE_USER, tool_calls=[pb.ToolCall(id="1", name="f", arguments_json="{}")])),
        ("messages[0].tool_calls",),
    ),
    Case(
        "call without id and name",
        call(arguments_json="{}"),
        ("messages[1].tool_calls[0].id", "messages[1].tool_calls[0].name"),
    ),
    *(
        Case(
            f"arguments {bad[:12]}",
            call(id="1", name="f", arguments_json=bad),
            ("messages[1].tool_calls[0].arguments_json",),
        )
        for bad in ("[]", "null", "3", '"x"', "{", "{}x", '{"a": NaN}', "{'a': 1}", '{"a":' * 5_000 + "1" + "}" * 5_000)
    ),
    Case("tool without name", tools(pb.Tool()), ("tools[0].name",)),
    Case("tool twice", tools(pb.Tool(name="a"), pb.Tool(name="a")), ("tools[1].name",)),
    Case("parameters no object", tools(pb.Tool(name="a", parameters_json="[]")), ("tools[0].parameters_json",)),
    Case("many tools", tools(*[pb.Tool(name=f"t{i}") for i in range(513)]), ("tools",)),
    Case("choice without name", tools(pb.Tool(name="a"), choice=pb.ToolChoice(mode=F)), ("tool_choice.name",)),
    Case("choice unknown", tools(pb.Tool(name="a"), choice=pb.ToolChoice(mode=F, name="b")), ("tool_choice.name",)),
    Case("choice without tools", tools(choice=pb.ToolChoice(mode=F, name="b")), ("tool_choice.name", "tools")),
    Case("required without tools", tools(choice=pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_REQUIRED)), ("tools",)),
    Case(
        "name without function",
        tools(pb.Tool(name="a"), choice=pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_AUTO, name="a")),
        ("tool_choice.name",),
    ),
    Case(
        "unknown mode",
        tools(pb.Tool(name="a"), choice=pb.ToolChoice(mode=77)),  # type: ignore[arg-type]  # on purpose
        ("tool_choice.mode",),
    ),
    Case("format of nothing", answer(), ("response_format",)),
    Case("format false", answer(json_object=False), ("response_format.json_object",)),
    Case(
        "schema of nothing",
        answer(json_schema=pb.JsonSchema()),
        ("response_format.json_schema.name", "response_format.json_schema.schema_json"),
    ),
    Case("long end user", pb.GenerateRequest(model="m", messages=[user()], end_user="u" * 300), ("end_user",)),
    Case("large metadata", metadata(20_000), ("metadata",)),
)
SAMPLING = (
    *(
        Case(f"{name} {value}", sampling(**{name: value}), (f"sampling.{name}",))
        for name, values in {
            "temperature": (-0.1, 2.1, NAN, INF),
            "top_p": (0.0, 1.1, NAN, -INF),
            "presence_penalty": (-2.1, 2.1, NAN),
            "frequency_penalty": (-2.1, 2.1, INF),
            "repetition_penalty": (0.0, -1.0, NAN, INF),
            "min_p": (-0.1, 1.1, NAN),
            "top_k": (0,),
            "max_output_tokens": (0,),
        }.items()
        for value in values
    ),
    Case("logprobs not asked", sampling(top_logprobs=3), ("sampling.top_logprobs",)),
    Case("top logprobs", sampling(top_logprobs=21, logprobs=True), ("sampling.top_logprobs",)),
    Case("empty stop", sampling(stop=["a", ""]), ("sampling.stop[1]",)),
    Case("long stop", sampling(stop=["a" * 257]), ("sampling.stop[0]",)),
    Case("many stops", sampling(stop=["a"] * 17), ("sampling.stop",)),
    Case("effort", sampling(reasoning_effort="x" * 33), ("sampling.reasoning_effort",)),
)
ROUTING = (
    *(
        Case(f"slo {n} {v}", slo(**{n: v}), (f"routing.slo.{n}",))
        for n in ("ttft_s", "tpot_s", "e2e_s")
        for v in (-1.0, NAN, INF)
    ),
    *(Case(f"probability {v}", slo(probability=v), ("routing.slo.probability",)) for v in (0.0, 1.0, NAN)),
    Case("on_infeasible", slo(on_infeasible=9), ("routing.slo.on_infeasible",)),
    *(
        Case(f"cost {v}", routing(pb.RoutingOptions(max_cost_usd=v)), ("routing.max_cost_usd",))
        for v in (0.0, -1.0, NAN, INF)
    ),
    *(
        Case(
            f"quality {v}",
            routing(pb.RoutingOptions(needs=pb.Needs(minimum_quality=v))),
            ("routing.needs.minimum_quality",),
        )
        for v in (-0.1, 1.1, NAN)
    ),
    *(Case(f"attempts {v}", routing(pb.RoutingOptions(max_attempts=v)), ("routing.max_attempts",)) for v in (0, 6)),
    Case(
        "capabilities",
        routing(pb.RoutingOptions(needs=pb.Needs(capabilities=[common.CAPABILITY_TOOLS, 0, 99]))),  # type: ignore[list-item]  # on purpose
        ("routing.needs.capabilities[1]", "routing.needs.capabilities[2]"),
    ),
    Case("privacy", placed(privacy=9), ("routing.placement.privacy",)),
    Case(
        "regions",
        placed(regions=["eu-*", "e u", "", "*eu", "eu*x"]),
        tuple(f"routing.placement.regions[{i}]" for i in (1, 2, 3, 4)),
    ),
    Case("only nobody", placed(only_backends=[""]), ("routing.placement.only_backends[0]",)),
    Case("except nobody", placed(excluded_backends=["a", "b\n"]), ("routing.placement.excluded_backends[1]",)),
    Case("objective", routing(pb.RoutingOptions(objective=9)), ("routing.objective",)),  # type: ignore[arg-type]  # on purpose
    Case("priority", routing(pb.RoutingOptions(priority=9)), ("routing.priority",)),  # type: ignore[arg-type]  # on purpose
    Case("break", routing(pb.RoutingOptions(on_stream_break=9)), ("routing.on_stream_break",)),  # type: ignore[arg-type]  # on purpose
    Case("key", routing(pb.RoutingOptions(idempotency_key="k" * 257)), ("routing.idempotency_key",)),
    Case("label", routing(pb.RoutingOptions(labels={"a": "v" * 257})), ("routing.labels['a']",)),
    Case("labels", routing(pb.RoutingOptions(labels={str(i): "" for i in range(33)})), ("routing.labels",)),
    Case(
        "session",
        routing(pb.RoutingOptions(session=pb.SessionHints(session_id="s" * 257))),
        ("routing.session.session_id",),
    ),
    Case(
        "hashes",
        routing(pb.RoutingOptions(session=pb.SessionHints(prefix_block_hashes=[1] * (MAX_PREFIX_HASHES + 1)))),
        (PRE,),
    ),
)


@pytest.mark.parametrize("case", [*CONTENT, *SAMPLING, *ROUTING], ids=lambda case: case.id)
def test_a_bad_field_is_named_by_its_path(case: Case) -> None:
    """What is wrong is refused with exactly the paths of the fields at fault, as they are called in the proto."""
    with pytest.raises(InvalidRequest) as caught:
        decode_generate(case.wrong, request_id="r", deadline_s=None)

    assert tuple(v.field for v in caught.value.violations) == case.fields
    assert all(v.description for v in caught.value.violations)


def test_every_violation_is_reported_at_once() -> None:
    """Faults in different parts of a request are told together."""
    request = pb.GenerateRequest(
        messages=[pb.Message(text="x")],
        sampling=pb.Sampling(temperature=3, top_p=0),
        routing=pb.RoutingOptions(max_attempts=9),
    )

    with pytest.raises(InvalidRequest) as caught:
        decode_generate(request, request_id="r", deadline_s=None)

    assert {v.field for v in caught.value.violations} == {
        "model",
        "messages[0].role",
        "sampling.temperature",
        "sampling.top_p",
        "routing.max_attempts",
    }


def test_the_list_of_violations_is_bounded() -> None:
    """A request that is wrong in every message costs no more than a bounded answer."""
    with pytest.raises(InvalidRequest) as caught:
        decode_generate(said(*[pb.Message()] * MAX_MESSAGES), request_id="r", deadline_s=None)

    assert len(caught.value.violations) == MAX_VIOLATIONS


def test_an_image_has_a_greatest_size() -> None:
    """An image above the bound is refused as bytes and as a data URL."""
    as_bytes = image(data=bytes(MAX_IMAGE_BYTES + 1), mime_type="image/png")
    as_url = image(url="data:image/png;base64," + "A" * (MAX_IMAGE_BYTES * 4 // 3 + 200))

    for request, field in ((as_bytes, f"{IMG}.data"), (as_url, f"{IMG}.url")):
        with pytest.raises(InvalidRequest) as caught:
            decode_generate(request, request_id="r", deadline_s=None)
        assert [v.field for v in caught.value.violations] == [field]
