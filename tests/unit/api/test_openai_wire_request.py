"""What a body of the OpenAI API becomes: the request for the backend and the profile for routing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsStreaming as CompletionParams

from backends.contract import GenerateRequest, Message, ReasoningBlock, Sampling, TextPart, ToolChoice
from router.api.wire.openai_request import Decoded, Headers, decode_chat, decode_completion
from router.api.wire.openai_routing import RouterOptions, SloWishes
from router.api.wire.openai_schema import ChatBody, CompletionBody
from router.domain.fleet import Capability, Parameter, PrivacyLevel
from router.domain.request import Objective, Placement, Priority, RequestProfile, Slo, StreamBreakAction
from router.errors import InvalidRequest, Violation

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}


def _chat(headers: Headers = (), **fields: Any) -> Decoded:
    body = msgspec.json.encode({"model": "m", "messages": [USER]} | fields)
    return decode_chat(body, headers, request_id="r", now=100.0)


def test_the_smallest_chat_asks_for_nothing() -> None:
    """A model and a message make a request without parameters and a profile of defaults."""
    decoded = _chat()

    assert decoded.request == GenerateRequest(model="m", messages=(Message(role="user", content="hi"),))
    assert decoded.profile == RequestProfile(request_id="r", model="m", input_tokens=4.5)
    assert (decoded.stream, decoded.include_usage, decoded.chat, decoded.ignored) == (False, False, True, ())


def test_every_parameter_of_openai_is_known() -> None:
    """No field that the official SDK can send is missing from the schema: each is handled or refused by name."""
    assert set(ChatParams.__annotations__) | set(_inherited(ChatParams)) <= set(ChatBody.__struct_fields__)
    assert set(CompletionParams.__annotations__) | set(_inherited(CompletionParams)) <= set(
        CompletionBody.__struct_fields__
    )


def _inherited(kind: Any) -> set[str]:
    return set(kind.__required_keys__ | kind.__optional_keys__)


def test_null_is_the_same_as_not_asked() -> None:
    """Every optional field may be null, as clients that write all fields send it."""
    required = {"model", "messages"}
    nulls: dict[str, Any] = {name: None for name in ChatBody.__struct_fields__ if name not in required}

    assert _chat(**nulls) == _chat()


def test_sampling_parameters_reach_the_backend() -> None:
    """Each sampling parameter arrives unchanged, integers where floats are meant included."""
    decoded = _chat(
        max_completion_tokens=9,
        temperature=1,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        stop="END",
        seed=-3,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.2,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="minimal",
    )

    assert decoded.request.sampling == Sampling(
        max_output_tokens=9,
        temperature=1.0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        stop=("END",),
        seed=-3,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.2,
        logprobs=True,
        top_logprobs=2,
        reasoning_effort="minimal",
    )
    assert decoded.profile.max_output_tokens == 9
    assert decoded.profile.needs == {Capability.LOGPROBS}
    assert decoded.profile.parameters == frozenset(Parameter) - {Parameter.TOOL_CHOICE, Parameter.PARALLEL_TOOL_CALLS}


def test_turns_keep_their_role_name_and_parts() -> None:
    """The developer is the system, one text part is text, several stay parts, a refusal is what was said."""
    decoded = _chat(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "ops"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "refusal": "No.", "annotations": [], "audio": None},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
            USER,
        ]
    )

    assert decoded.request.messages == (
        Message(role="system", content="Be brief.", name="ops"),
        Message(role="user", content=(TextPart(text="a"), TextPart(text="b"))),
        Message(role="assistant", content="No."),
        Message(role="assistant", content="Never."),
        Message(role="user", content="hi"),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [TOOL]}, None),
        ({"tool_choice": "none"}, None),
        ({"parallel_tool_calls": False}, None),
        ({"tools": [TOOL], "tool_choice": "none"}, ToolChoice(mode="none")),
        ({"tools": [TOOL], "tool_choice": "required"}, ToolChoice(mode="required")),
        ({"tools": [TOOL], "parallel_tool_calls": False}, ToolChoice(mode="auto", parallel=False)),
    ],
)
def test_a_tool_choice_means_something_only_with_tools(fields: dict[str, Any], expected: ToolChoice | None) -> None:
    """Without tools "auto" and "none" say nothing, and nothing is sent."""
    assert _chat(**fields).request.tool_choice == expected


def test_what_asks_for_the_default_is_accepted() -> None:
    """Fields that are refused are accepted with the value that asks for nothing special, and are not reported."""
    decoded = _chat(
        n=1,
        logit_bias={},
        modalities=["text"],
        functions=[],
        verbosity="medium",
        service_tier="auto",
        store=False,
        metadata={},
        response_format={"type": "text"},
    )

    assert decoded == _chat()


def test_what_has_no_effect_is_listed() -> None:
    """Accepted fields that change nothing are named with their paths."""
    part = {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
    decoded = _chat(
        messages=[
            {"role": "user", "content": [part]},
            {"role": "assistant", "content": "x", "reasoning_details": [{"type": "reasoning.summary", "summary": "s"}]},
            USER,
        ],
        store=True,
        metadata={"a": "b"},
        prompt_cache_retention="24h",
        user="ann",
        safety_identifier="other",
    )

    assert decoded.ignored == (
        "metadata",
        "prompt_cache_retention",
        "store",
        "messages.0.content.0.prompt_cache_breakpoint",
        "messages.1.reasoning_details.0",
        "safety_identifier",
    )
    assert decoded.request.end_user == "ann"


def _thought(**fields: Any) -> tuple[ReasoningBlock, ...]:
    answer = {"role": "assistant", "content": "x"} | fields
    return _chat(messages=[USER, answer, USER]).request.messages[1].reasoning


def test_former_reasoning_goes_back_in_blocks() -> None:
    """Blocks with their signatures where a client kept them, else the text that it kept, else nothing."""
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "sig", "index": 0, "id": None, "format": "a"},
        {"type": "reasoning.encrypted", "data": "xyz", "index": 1},
        {"type": "reasoning.text", "text": None, "signature": None},
    ]
    blocks = (ReasoningBlock(text="hm", signature="sig"), ReasoningBlock(signature="xyz", redacted=True))

    assert _thought(reasoning_details=details, reasoning_content="hm") == blocks
    assert _thought(reasoning_content="hm") == (ReasoningBlock(text="hm"),)
    assert _thought(reasoning="hm") == (ReasoningBlock(text="hm"),)
    assert _thought(reasoning_details=[], reasoning=None) == _thought() == ()


def test_the_signature_of_a_call_goes_back_with_it() -> None:
    """Where Google's own OpenAI face has it; a call without one is a call."""
    extra = {"google": {"thought_signature": "sig"}}
    function = {"name": "f", "arguments": "{}"}
    given: list[dict[str, Any]] = [{"extra_content": extra}, {"extra_content": {}}, {}]
    calls: list[dict[str, Any]] = [
        {"id": f"c{n}", "type": "function", "function": function} | more for n, more in enumerate(given)
    ]
    request = _chat(messages=[USER, {"role": "assistant", "tool_calls": calls}, USER]).request

    assert [call.signature for call in request.messages[1].tool_calls] == ["sig", None, None]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"reasoning_details": [{"type": "reasoning.other"}]}, "messages.1.reasoning_details.0.type"),
        ({"reasoning_details": [{"type": "reasoning.encrypted"}]}, "messages.1.reasoning_details.0.data"),
        ({"reasoning_details": [{"type": "reasoning.text", "txt": "x"}]}, "messages.1.reasoning_details.0.txt"),
        ({"reasoning_details": "x"}, "messages.1.reasoning_details"),
    ],
)
def test_reasoning_of_no_known_form_is_named(fields: dict[str, Any], path: str) -> None:
    """A detail that cannot be sent back is refused with its place, not dropped."""
    with pytest.raises(InvalidRequest) as caught:
        _thought(**fields)
    assert [violation.field for violation in caught.value.violations] == [path]


def test_a_completion_has_the_defaults_of_its_endpoint() -> None:
    """A prompt alone may have 16 tokens, as that API has it; a list of one prompt is that prompt."""
    decoded = decode_completion(b'{"model":"m","prompt":["Say"],"logprobs":0}', (), request_id="r", now=0.0)

    assert decoded.request == GenerateRequest(
        model="m", prompt="Say", sampling=Sampling(max_output_tokens=16, logprobs=True, top_logprobs=0)
    )
    assert not decoded.chat


def test_every_wish_reaches_the_profile() -> None:
    """The `router` object fills the profile, and what the request shows is added to what it asks for."""
    decoded = _chat(
        tools=[TOOL],
        prompt_cache_key="cache",
        router={
            "slo": {"ttft_s": 0.5, "tpot_s": 0.05, "e2e_s": 9, "probability": 0.95, "on_infeasible": "reject"},
            "max_cost_usd": 0.01,
            "privacy": "zero_retention",
            "regions": ["eu-*"],
            "only_backends": ["a", "b"],
            "excluded_backends": ["b"],
            "objective": "energy",
            "workload_class": "agentic",
            "session_id": "s",
            "shared_prefix_tokens": 100,
            "priority": "critical",
            "on_stream_break": "continue",
            "idempotency_key": "k",
            "capabilities": ["vision"],
            "minimum_quality": 0.5,
            "minimum_context_tokens": 8000,
            "expected_output_tokens": 50,
            "task": "code",
            "max_attempts": 2,
            "timeout_s": 30,
            "explain": True,
        },
    )

    assert decoded.profile == RequestProfile(
        request_id="r",
        model="m",
        input_tokens=decoded.profile.input_tokens,
        expected_output_tokens=50,
        needs=frozenset({Capability.TOOLS, Capability.VISION}),
        minimum_quality=0.5,
        minimum_context_tokens=8000,
        task="code",
        slo=Slo(ttft_s=0.5, tpot_s=0.05, e2e_s=9.0, probability=0.95, reject_infeasible=True),
        max_cost_usd=0.01,
        placement=Placement(
            privacy=PrivacyLevel.ZERO_RETENTION,
            regions=("eu-*",),
            only_backends=("a", "b"),
            excluded_backends=("b",),
        ),
        objective=Objective.ENERGY,
        workload_class="agentic",
        session_key="s",
        shared_prefix_tokens=100,
        priority=Priority.CRITICAL,
        on_stream_break=StreamBreakAction.CONTINUE,
        idempotency_key="k",
        max_attempts=2,
        explain=True,
        deadline_s=130.0,
    )


def test_every_wish_has_a_header() -> None:
    """Whatever the `router` object can say, `x-router-*` headers can say too, with the same result."""
    wishes: dict[str, Any] = {
        "max_cost_usd": 0.01,
        "privacy": "own_hardware",
        "regions": ["eu-*", "us-1"],
        "only_backends": ["a"],
        "excluded_backends": ["b"],
        "objective": "latency",
        "workload_class": "batch",
        "service_tier": "flex",
        "session_id": "s",
        "shared_prefix_tokens": 3,
        "priority": "sheddable",
        "on_stream_break": "restart",
        "idempotency_key": "k",
        "capabilities": ["vision", "seed"],
        "minimum_quality": 0.5,
        "minimum_context_tokens": 8000,
        "expected_output_tokens": 50,
        "task": "code",
        "max_attempts": 2,
        "timeout_s": 30.5,
        "explain": True,
    }
    slo = {"ttft_s": 0.5, "tpot_s": 0.05, "e2e_s": 9.0, "probability": 0.95, "on_infeasible": "best_effort"}
    flat = wishes | {f"slo_{name}": value for name, value in slo.items()}
    headers = [(f"x-router-{name.replace('_', '-')}".encode(), _header(value)) for name, value in flat.items()]

    assert set(wishes) | {"slo"} == set(RouterOptions.__struct_fields__)
    assert set(slo) == set(SloWishes.__struct_fields__)
    assert _chat(headers).profile == _chat(router=wishes | {"slo": slo}).profile


def _header(value: Any) -> bytes:
    if isinstance(value, list):
        return ", ".join(value).encode()
    return str(value).lower().encode() if isinstance(value, bool) else str(value).encode()


def test_the_body_wins_over_headers_field_by_field() -> None:
    """A wish of the body replaces that of a header; the other headers stay, within the SLO as well."""
    headers = [(b"x-router-privacy", b"any"), (b"x-router-task", b"code"), (b"x-router-slo-e2e-s", b"9")]

    profile = _chat(headers, router={"privacy": "on_device", "slo": {"ttft_s": 0.5}}).profile

    assert profile.placement.privacy is PrivacyLevel.ON_DEVICE
    assert profile.task == "code"
    assert profile.slo == Slo(ttft_s=0.5, e2e_s=9.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KNOWN = st.sampled_from([*ChatBody.__struct_fields__, *CompletionBody.__struct_fields__])
WISHES = st.dictionaries(st.sampled_from([*RouterOptions.__struct_fields__]), JSON, max_size=3)


@given(
    fields=st.dictionaries(KNOWN, JSON, max_size=5),
    router=WISHES,
    headers=st.lists(st.tuples(st.binary(), st.binary())),
)
def test_any_json_is_decoded_or_refused(
    fields: dict[str, Any], router: dict[str, Any], headers: list[tuple[bytes, bytes]]
) -> None:
    """Whatever stands in the known fields gives a request, or an InvalidRequest that names a field; nothing else."""
    named = [(b"x-router-" + name, value) for name, value in headers]
    for base, decode in (({"messages": [USER]}, decode_chat), ({"prompt": "x"}, decode_completion)):
        body = msgspec.json.encode({"model": "m", **base, "router": router, **fields})
        violations: tuple[Violation, ...] = (Violation("none", "it was decoded"),)
        try:
            decode(body, named, request_id="r", now=0.0)
        except InvalidRequest as error:
            violations = error.violations
        assert violations
        assert all(violation.field and violation.description for violation in violations)


@given(body=st.binary(max_size=64))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    """Bytes that are no request are an InvalidRequest."""
    with pytest.raises(InvalidRequest):
        decode_chat(body, (), request_id="r", now=0.0)
