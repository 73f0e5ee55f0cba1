"""Explain names what each backend lacks; what lacks something is not sent anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc
import grpc.aio
import pytest

from router.v1 import common_pb2
from router.v1 import inference_pb2 as pb
from tests.integration.families.place import BY_ID, IDS, Place, question

pytestmark = pytest.mark.asyncio(loop_scope="session")
EXTRA = {"spare-vllm", "spare-bedrock", "unpriced", "embedded"}


def _tools(request: pb.GenerateRequest) -> None:
    request.tools.add(name="look_up", parameters_json='{"type": "object"}')


def _schema(request: pb.GenerateRequest) -> None:
    request.response_format.json_schema.name = "place"
    request.response_format.json_schema.schema_json = '{"type": "object"}'


def _object(request: pb.GenerateRequest) -> None:
    request.response_format.json_object = True


def _image(request: pb.GenerateRequest) -> None:
    request.messages[0].text = ""
    request.messages[0].parts.add(text="What is it?")
    request.messages[0].parts.add(image=pb.Image(url="https://example.com/cat.png"))


NEEDS: Mapping[str, Callable[[pb.GenerateRequest], None]] = {
    "tools": _tools,
    "json_schema": _schema,
    "json_object": _object,
    "vision": _image,
}
# A parameter, and some who have no field for it.
WITHOUT = {
    "top_k": {"openai", "azure", "deepseek", "groq", "mistral", "xai", "jetstream", "anthropic-2026"},
    "seed": {"anthropic", "bedrock", "deepseek", "tabbyapi", "jetstream"},
}


def drops(decision: common_pb2.Decision, reason: str) -> dict[str, str]:
    """Backend -> what is said of it."""
    return {drop.backend: drop.detail for drop in decision.drops if drop.reason == reason and drop.backend not in EXTRA}


@pytest.mark.parametrize("need", NEEDS)
async def test_a_capability_that_is_lacking(place: Place, need: str) -> None:
    """Exactly those who cannot do it are dropped, in words that name it; everybody else is a candidate."""
    request = question(*IDS)
    NEEDS[need](request)
    lacking = {name for name in IDS if need not in BY_ID[name].capabilities}

    decision = await place.explain(request)

    found = drops(decision, "CAPABILITY")
    assert lacking
    assert set(found) == lacking
    assert all(f"cannot do: {need}" in detail for detail in found.values())
    assert {report.backend for report in decision.candidates} == set(IDS) - lacking


@pytest.mark.parametrize("parameter", WITHOUT)
async def test_a_parameter_that_is_not_taken(place: Place, parameter: str) -> None:
    """Who has no field for a parameter is dropped by its name, and it is not left out in silence."""
    request = question(*IDS)
    setattr(request.sampling, parameter, 3)

    found = drops(await place.explain(request), "CAPABILITY")

    assert WITHOUT[parameter] <= set(found)
    assert all(f"does not take {parameter}" in detail for detail in found.values())


@pytest.mark.parametrize("name", [name for name in IDS if "tools" not in BY_ID[name].capabilities])
async def test_nothing_is_sent_to_who_lacks_it(place: Place, name: str) -> None:
    """Where only such a backend may serve, the call fails with the reason, before the server has seen anything."""
    request = question(name)
    _tools(request)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await place.ask(request)

    assert "no backend can serve" in (refused.value.details() or "")
    assert "CAPABILITY" in (refused.value.details() or "")
    assert not place.servers[name].seen


async def test_a_prompt_that_does_not_fit(place: Place) -> None:
    """The tokens that a backend holds and those that are needed are both said."""
    found = drops(await place.explain(question(*IDS, text="word " * 4200)), "CONTEXT")

    small = {name for name in IDS if BY_ID[name].context_tokens <= 4096}
    assert small
    assert set(found) == small
    assert all("holds 4096 tokens" in detail for detail in found.values())


async def test_privacy_that_is_not_guaranteed(place: Place) -> None:
    """A service is no hardware of one's own."""
    request = question(*IDS)
    request.routing.placement.privacy = common_pb2.PRIVACY_LEVEL_OWN_HARDWARE

    found = drops(await place.explain(request), "PRIVACY")

    assert set(found) == {name for name in IDS if not BY_ID[name].own}
    assert all("guarantees no_training, own_hardware is asked" in detail for detail in found.values())


async def test_an_unknown_price_under_a_cap(place: Place) -> None:
    """What nobody knows the price of is not taken for free."""
    decision = await place.explain(question("unpriced", "groq", max_cost_usd=1.0))

    assert decision.backend == "groq"
    dropped = [(drop.backend, drop.detail) for drop in decision.drops if drop.reason == "PRICE_UNKNOWN"]
    assert [name for name, _ in dropped] == ["unpriced"]
    assert "its price is unknown" in dropped[0][1]
