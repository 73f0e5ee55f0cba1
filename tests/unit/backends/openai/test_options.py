"""Settings of one backend: what they make of its profile, and which are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.contract import GenerateRequest, Message, ReasoningBlock, ResponseFormat, Sampling, Tool, ToolChoice
from backends.errors import Unsupported
from backends.openai import WIRE
from backends.openai.encode import encode
from backends.openai.options import bound
from backends.openai.profile import Profile
from backends.openai.profiles import PROFILES
from backends.spec import BackendSpec

HI = (Message(role="user", content="hi"),)


def made(profile: str, **options: str) -> Profile:
    spec = BackendSpec(id="b", wire="openai_chat", profile=profile, base_url="http://h", options=options)
    assert not WIRE.check_options(options)
    return bound(PROFILES[profile], spec)


def sent(profile: Profile, **fields: Any) -> tuple[str, dict[str, Any]]:
    fields = {"messages": HI, **fields} if "prompt" not in fields else fields
    path, body = encode(GenerateRequest(model="m", **fields), upstream_model="a/b c", profile=profile)
    return path, msgspec.json.decode(body)


def test_without_options_a_profile_is_itself() -> None:
    """Nothing is changed that nobody asked to change."""
    for name, profile in PROFILES.items():
        if name != "azure":
            assert made(name) == profile


def test_an_azure_path_has_deployment_and_version() -> None:
    """Percent-encoded, with the profile's version unless the options have another."""
    path, _ = sent(made("azure"))
    assert path == "/openai/deployments/a%2Fb%20c/chat/completions?api-version=2024-10-21"
    path, _ = sent(made("azure", api_version="2026-01-01-preview"), prompt="x")
    assert path == "/openai/deployments/a%2Fb%20c/completions?api-version=2026-01-01-preview"


def test_paths_can_be_elsewhere() -> None:
    """Of chats, of prompts, of the list of models and of health, or nowhere at all."""
    profile = made("local", chat_path="/x/chat", completions_path="/x", models_path="/y", health_path="/z?a=b")
    assert sent(profile)[0] == "/x/chat"
    assert sent(profile, prompt="x")[0] == "/x"
    assert (profile.probe.models, profile.probe.liveness) == ("/y", "/z?a=b")
    profile = made("vllm", models_path="none", health_path="none")
    assert (profile.probe.models, profile.probe.liveness) == (None, None)
    assert profile.probe.metrics == "/metrics"


def test_what_a_server_lacks_is_refused() -> None:
    """A parameter and a capability that the options take away are the adapter's to refuse."""
    profile = made("vllm", without="top_k,json_schema,tools")
    with pytest.raises(Unsupported, match="top_k"):
        sent(profile, sampling=Sampling(top_k=3))
    with pytest.raises(Unsupported, match="json_schema"):
        sent(profile, response_format=ResponseFormat(kind="json_schema"))
    with pytest.raises(Unsupported, match="tools"):
        sent(profile, tools=(Tool(name="f"),))
    assert "top_k" not in profile.features.parameters
    assert "tools" not in profile.features.capabilities


def test_usage_may_be_left_unasked() -> None:
    """For a server that does not know the field."""
    assert "stream_options" in sent(made("local"))[1]
    assert "stream_options" not in sent(made("local", usage="unasked"))[1]


def test_extra_fields_go_with_every_request() -> None:
    """What the caller asked for stays as it was asked."""
    profile = made("groq", extra_body='{"service_tier": "flex", "temperature": 1}')
    _, body = sent(profile, sampling=Sampling(temperature=0.5))
    assert (body["service_tier"], body["temperature"]) == ("flex", 0.5)


@pytest.mark.parametrize(
    ("profile", "said"), [("openai", "flex"), ("groq", "flex"), ("vllm", None), ("together", None)]
)
def test_a_service_is_asked_for_where_the_dialect_has_the_word(profile: str, said: str | None) -> None:
    """Elsewhere it is left out: it shapes no answer, and the standard service is charged."""
    assert sent(made(profile), service_tier="flex")[1].get("service_tier") == said


def test_reasoning_goes_back_where_the_options_say() -> None:
    """Or not at all."""
    turns = (Message(role="assistant", content="x", reasoning=(ReasoningBlock(text="hm"),)), *HI)
    assert sent(made("groq", reasoning_back="reasoning"), messages=turns)[1]["messages"][0]["reasoning"] == "hm"
    assert sent(made("vllm", reasoning_back="none"), messages=turns)[1]["messages"][0].keys() == {"role", "content"}


@pytest.mark.parametrize("extra", ["{", "{}x}", '{"model": "x"}', '{"stream": false, "tools": []}'])
def test_extra_fields_that_cannot_be_sent_are_refused(extra: str) -> None:
    """No JSON object, or a field that is the router's own to set."""
    spec = BackendSpec(id="b", wire="openai_chat", profile="groq", base_url="http://h", options={"extra_body": extra})
    with pytest.raises(ValueError, match="extra_body"):
        bound(PROFILES["groq"], spec)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_version", "2024 10"),
        ("chat_path", "no/slash"),
        ("chat_path", "/a b"),
        ("without", "top_k,nonsense"),
        ("usage", "maybe"),
        ("reasoning_back", "thoughts"),
        ("extra_body", "[]"),
        ("extra_bodies", "{}"),
    ],
)
def test_a_setting_that_is_not_one_is_found(name: str, value: str) -> None:
    """Before a backend is made."""
    assert [wrong for wrong, _ in WIRE.check_options({name: value})] == [name]


def test_a_server_that_takes_silence_for_none_is_told_auto() -> None:
    """TensorRT-LLM calls no tool unless it is said that it may."""
    assert sent(PROFILES["trtllm"], tools=(Tool(name="f"),))[1]["tool_choice"] == "auto"
    assert "tool_choice" not in sent(PROFILES["vllm"], tools=(Tool(name="f"),))[1]


def test_that_calls_may_come_together_needs_no_word() -> None:
    """Only that they may not does, and is refused where there is none."""
    tools = (Tool(name="f"),)
    _, body = sent(PROFILES["trtllm"], tools=tools, tool_choice=ToolChoice(parallel=True))
    assert "parallel_tool_calls" not in body
    with pytest.raises(Unsupported, match="parallel"):
        sent(PROFILES["trtllm"], tools=tools, tool_choice=ToolChoice(parallel=False))


def test_a_bare_schema_has_a_field_of_its_own() -> None:
    """TabbyAPI's, for any object as well."""
    schema = msgspec.Raw(b'{"type":"array"}')
    tabby = PROFILES["tabbyapi"]
    assert sent(tabby, response_format=ResponseFormat(kind="json_schema", schema=schema))[1]["json_schema"] == {
        "type": "array"
    }
    _, body = sent(tabby, response_format=ResponseFormat(kind="json_object"))
    assert (body["json_schema"], "response_format" in body) == ({"type": "object"}, False)
    assert "json_schema" not in sent(tabby, response_format=ResponseFormat(kind="text"))[1]
