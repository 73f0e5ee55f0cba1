"""Requests in Converse's words, each checked against botocore's own model of the service."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from backends.aws.bedrock.conversation import NO_OUTPUT
from backends.aws.bedrock.encode import encode, path_of
from backends.aws.bedrock.models import family_of
from backends.contract import (
    GenerateRequest,
    ImagePart,
    Message,
    ReasoningBlock,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from backends.errors import Unsupported
from backends.signatures import marked

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEWER = "anthropic.claude-opus-4-8-v1"
NOVA = "us.amazon.nova-lite-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-70b-instruct-v1:0"
HELLO = Message(role="user", content="Hello")
TOOL = Tool(name="look", description="", parameters=None, strict=True)
CALL = Message(
    role="assistant", tool_calls=(ToolCall(id="call 1!", name="look", arguments='{"n":10000000000000000001}'),)
)
RESULT = Message(role="tool", tool_call_id="call 1!", name="look", content="")


@pytest.fixture(scope="module")
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def ask(*messages: Message, **more: Any) -> GenerateRequest:
    return GenerateRequest(model="m", messages=messages or (HELLO,), **more)


def body(request: GenerateRequest, model: str = CLAUDE, **options: str) -> dict[str, Any]:
    encoded = encode(request, upstream_model=model, options=options)
    return msgspec.json.decode(encoded, type=dict[str, Any])


REQUESTS = {
    "text": ask(Message(role="system", content="Be kind"), HELLO),
    "image": ask(Message(role="user", content=(TextPart(text="See"), ImagePart(url="data:image/jpg;base64,/9j/")))),
    "calls": ask(HELLO, CALL, RESULT, tools=(TOOL,), tool_choice=ToolChoice(mode="function", name="look")),
    "reasoning": ask(
        HELLO,
        Message(
            role="assistant",
            content="Hi",
            reasoning=(ReasoningBlock(text="hm", signature="c2ln"), ReasoningBlock(signature="aGk=", redacted=True)),
        ),
        HELLO,
        sampling=Sampling(reasoning_effort="high"),
    ),
    "sampling": ask(sampling=Sampling(max_output_tokens=9, temperature=1.0, top_p=0.5, top_k=3, stop=("a", "b"))),
    "schema": ask(response_format=ResponseFormat(kind="json_schema", schema=msgspec.Raw(b"{}"), description="d")),
    "prefill": ask(HELLO, Message(role="assistant", content="So")),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_fits_the_services_own_model(service: ServiceModel, name: str) -> None:
    """Names, types and unions are those that the SDK would send."""
    sent = body(
        REQUESTS[name],
        guardrail="arn:aws:bedrock:us-east-1:1:guardrail/x:3",
        service_tier="flex",
        performance="standard",
    )
    shape = service.operation_model("ConverseStream").input_shape
    report = ParamValidator().validate({"modelId": CLAUDE, **sent}, shape)
    assert not report.has_errors(), report.generate_report()
    assert sent["guardrailConfig"]["guardrailIdentifier"] == "arn:aws:bedrock:us-east-1:1:guardrail/x"


def test_turns_alternate_and_results_come_first() -> None:
    """Messages of one side are one turn; the results of calls stand before what is said beside them."""
    sent = body(ask(HELLO, HELLO, CALL, HELLO, RESULT, HELLO, tools=(TOOL,)))
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
    assert [next(iter(block)) for block in sent["messages"][2]["content"]] == ["toolResult", "text", "text"]


def test_ids_arguments_and_empty_results_fit_the_service() -> None:
    """An id of another vendor becomes one that fits, in call and result; numbers stay exact; nothing is blank."""
    encoded = encode(ask(HELLO, CALL, RESULT, tools=(TOOL,)), upstream_model=CLAUDE, options={})
    assert b'"input":{"n":10000000000000000001}' in encoded
    turns = msgspec.json.decode(encoded)["messages"]
    result = turns[2]["content"][0]["toolResult"]
    assert turns[1]["content"][0]["toolUse"]["toolUseId"] == result["toolUseId"] != "call 1!"
    assert result["content"] == [{"text": NO_OUTPUT}]


def test_tools_have_a_schema_and_no_empty_description() -> None:
    """The service wants the one and refuses the other."""
    sent = body(ask(tools=(TOOL,), tool_choice=ToolChoice(mode="required")))
    assert sent["toolConfig"] == {
        "tools": [
            {
                "toolSpec": {
                    "name": "look",
                    "inputSchema": {"json": {"type": "object", "properties": {}}},
                    "strict": True,
                }
            }
        ],
        "toolChoice": {"any": {}},
    }


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("{}", {"type": "object", "properties": {}}),
        ('{"properties":{}}', {"type": "object", "properties": {}}),
        ('{"type":"object"}', {"type": "object"}),
    ],
)
def test_parameters_say_that_they_are_an_object(written: str, sent: object) -> None:
    """Models refuse a schema without a type."""
    tool = Tool(name="look", parameters=msgspec.Raw(written.encode()))
    assert body(ask(tools=(tool,)))["toolConfig"]["tools"] == [
        {"toolSpec": {"name": "look", "inputSchema": {"json": sent}}}
    ]


def test_a_closed_schema_goes_as_it_was_written() -> None:
    """Blanks and the order of keys are the caller's."""
    written = '{ "type": "object", "additionalProperties": false }'
    wanted = ResponseFormat(kind="json_schema", schema=msgspec.Raw(written.encode()))
    assert (
        body(ask(response_format=wanted))["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"] == written
    )


def test_no_tool_is_called_where_none_may_be() -> None:
    """There is no word for it, so the tools are left out; after calls they cannot be, and it is refused."""
    forbidden = ToolChoice(mode="none")
    assert "toolConfig" not in body(ask(tools=(TOOL,), tool_choice=forbidden))
    with pytest.raises(Unsupported, match="tool_choice"):
        body(ask(HELLO, CALL, RESULT, tools=(TOOL,), tool_choice=forbidden))


def test_blank_text_is_left_out() -> None:
    """The service refuses blocks that say nothing."""
    blank = Message(role="user", content=(TextPart(text=" \n"), TextPart(text="x")))
    sent = body(ask(Message(role="system", content=""), blank, Message(role="assistant", content=""), HELLO))
    assert sent["messages"] == [{"role": "user", "content": [{"text": "x"}, {"text": "Hello"}]}]
    assert "system" not in sent


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "claude_3"),
        ("eu.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude_4"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "claude_4"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0", "claude_4"),
        ("global.anthropic.claude-opus-4-6-v1", "claude"),
        (NOVA, "nova"),
        (NOVA_2, "nova_2"),
        ("openai.gpt-oss-20b-1:0", "gpt_oss"),
        (LLAMA, "other"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "other"),
    ],
)
def test_a_models_family_is_in_its_id(model: str, family: str) -> None:
    """With a prefix of regions or inside an ARN too; what hides it is of no known family."""
    assert family_of(model).name == family


def test_the_operator_can_say_the_family() -> None:
    """An id that hides the model may be asked what its family can."""
    profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    request = ask(sampling=Sampling(top_k=5))
    with pytest.raises(Unsupported):
        body(request, profile)
    assert body(request, profile, model_family="nova")["additionalModelRequestFields"] == {
        "inferenceConfig": {"topK": 5}
    }


@pytest.mark.parametrize(
    ("effort", "model", "sent"),
    [
        ("none", CLAUDE, {"thinking": {"type": "disabled"}}),
        ("minimal", NEWER, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ("none", NOVA_2, {"reasoningConfig": {"type": "disabled"}}),
        ("none", LLAMA, None),
    ],
)
def test_little_or_no_thinking(effort: str, model: str, sent: object) -> None:
    """The least has a word in each family, and where nobody thinks there is nothing to say."""
    asked = ask(sampling=Sampling(max_output_tokens=9000, reasoning_effort=effort))
    assert body(asked, model).get("additionalModelRequestFields") == sent


def test_another_vendors_signature_stays_at_home() -> None:
    """Proof of Google's is none for Claude, and models that sign nothing get none at all."""
    blocks = (ReasoningBlock(text="a", signature=marked("gemini", "c2ln")), ReasoningBlock(text="b", signature="Yg=="))
    said = Message(role="assistant", content="Hi", reasoning=blocks)
    assert len(body(ask(HELLO, said, HELLO))["messages"][1]["content"]) == 2
    assert body(ask(HELLO, said, HELLO), NOVA)["messages"][1]["content"] == [{"text": "Hi"}]


JSON = ResponseFormat(kind="json_object")
BROKEN = Message(role="assistant", tool_calls=(ToolCall(id="a", name="b", arguments='{"a"'),))


@pytest.mark.parametrize(
    ("request_", "model", "param"),
    [
        (GenerateRequest(model="m", prompt="Once"), CLAUDE, "prompt"),
        (ask(sampling=Sampling(seed=1)), CLAUDE, "seed"),
        (ask(sampling=Sampling(logprobs=True)), CLAUDE, "logprobs"),
        (ask(sampling=Sampling(min_p=0.1)), CLAUDE, "min_p"),
        (ask(sampling=Sampling(frequency_penalty=0.1)), CLAUDE, "frequency_penalty"),
        (ask(sampling=Sampling(temperature=1.5)), CLAUDE, "temperature"),
        (ask(sampling=Sampling(stop=("\n",))), CLAUDE, "stop"),
        (ask(sampling=Sampling(stop=("",))), LLAMA, "stop"),
        (ask(sampling=Sampling(top_k=1)), LLAMA, "top_k"),
        (ask(sampling=Sampling(reasoning_effort="low")), LLAMA, "reasoning_effort"),
        (ask(sampling=Sampling(reasoning_effort="xhigh")), NOVA_2, "reasoning_effort"),
        (ask(sampling=Sampling(reasoning_effort="low", max_output_tokens=100)), CLAUDE, "reasoning_effort"),
        (ask(response_format=JSON), CLAUDE, "response_format"),
        (ask(tools=(TOOL,), tool_choice=ToolChoice(parallel=False)), CLAUDE, "parallel_tool_calls"),
        (ask(tool_choice=ToolChoice(mode="required")), CLAUDE, "tool_choice"),
        (ask(HELLO, CALL, RESULT), CLAUDE, "tools"),
        (ask(HELLO, BROKEN, RESULT, tools=(TOOL,)), CLAUDE, "messages[].tool_calls"),
        (ask(Message(role="user", content="x", name="Ann")), CLAUDE, "messages[].name"),
        (ask(Message(role="user", content=(ImagePart(url="https://host/cat.png"),))), CLAUDE, "messages[].content"),
        (
            ask(Message(role="user", content=(ImagePart(url="data:image/tiff;base64,AA=="),))),
            CLAUDE,
            "messages[].content",
        ),
        (ask(Message(role="user", content=(ImagePart(url="data:image/png;base64,?"),))), CLAUDE, "messages[].content"),
        (ask(Message(role="system", content="x")), CLAUDE, "messages"),
        (ask(Message(role="assistant", content="x"), HELLO), CLAUDE, "messages"),
        (ask(HELLO, Message(role="assistant", content="So")), LLAMA, "messages"),
    ],
)
def test_what_cannot_be_said_is_refused(request_: GenerateRequest, model: str, param: str) -> None:
    """Nothing is dropped silently: the refusal names the field, and another backend may take it."""
    with pytest.raises(Unsupported) as caught:
        body(request_, model)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (NOVA, "/model/us.amazon.nova-lite-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:eu-west-1:1:prompt-router/a b",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Aprompt-router%2Fa%20b/converse-stream",
        ),
        ("../x?y#z", "/model/..%2Fx%3Fy%23z/converse-stream"),
    ],
)
def test_an_id_is_one_segment_of_the_path(model: str, path: str) -> None:
    """Colons, slashes and all else that would mean something there are encoded."""
    assert path_of(model) == path
