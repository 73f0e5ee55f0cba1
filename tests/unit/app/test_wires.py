"""What the adapters say of themselves, as the rules and the filter read it."""

from __future__ import annotations

from backends import registry
from backends.dialect import CAPABILITIES, SAMPLING_FIELDS, TOOL_FIELDS
from router.app.wires import wire_facts
from router.domain.fleet import Capability, Parameter


def test_every_word_of_the_adapters_has_one_of_the_router() -> None:
    """Capabilities and parameters are the same words on both sides; log probabilities are a capability."""
    assert {parameter.value for parameter in Parameter} == (SAMPLING_FIELDS | TOOL_FIELDS) - {"logprobs"}
    assert {capability.value for capability in Capability} >= CAPABILITIES


def test_every_wire_is_known_with_its_profiles() -> None:
    """Each wire of the registry with each of its profiles, schemes and options."""
    facts = wire_facts()
    assert set(facts) == set(registry.WIRES)
    for name, wire in registry.WIRES.items():
        assert set(facts[name].profiles) == wire.profiles
        assert facts[name].schemes == wire.schemes
        assert [option for option, _ in facts[name].check_options({"no such option": "x"})][:1] == ["no such option"]


def test_what_a_dialect_lacks_its_family_lacks() -> None:
    """Groq takes no log probabilities and no top_k; vLLM takes both."""
    profiles = wire_facts()["openai_chat"].profiles
    assert Capability.LOGPROBS not in profiles["groq"].capabilities
    assert Parameter.TOP_K not in profiles["groq"].parameters
    assert Capability.LOGPROBS in profiles["vllm"].capabilities
    assert Parameter.TOP_K in profiles["vllm"].parameters


def test_who_cannot_force_a_call_does_not_take_a_tool_choice() -> None:
    """Ollama and mlx-lm offer tools without a word for forcing one; Bedrock and Gemini have none for one at a time."""
    of_tools = {Parameter.TOOL_CHOICE, Parameter.PARALLEL_TOOL_CALLS}
    taken = {
        (wire, profile): features.parameters & of_tools
        for wire, facts in wire_facts().items()
        for profile, features in facts.profiles.items()
    }
    assert taken["openai_chat", "vllm"] == taken["anthropic", "anthropic"] == of_tools
    assert taken["bedrock", "bedrock"] == taken["gemini", "vertex"] == {Parameter.TOOL_CHOICE}
    assert taken["ollama", "ollama"] == taken["openai_chat", "mlx"] == taken["replicate", "replicate"] == set()
