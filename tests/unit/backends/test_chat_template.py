"""Chat templates: what the models' makers document, what transformers does, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.chat_template import ChatTemplate
from backends.chat_templates.sources import BUILTIN, Source
from backends.contract import GenerateRequest, ImagePart, Message, TextPart, Tool, ToolCall
from backends.errors import Unsupported


def said(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return msgspec.convert([{"role": role, "content": content} for role, content in turns], tuple[Message, ...])


# From the makers' own pages: Meta's for Llama 2 and 3, Google's for Gemma, Microsoft's for Phi-3, and Hugging Face's
# guide to chat templates for ChatML, Mistral and Zephyr.
DOCUMENTED = {
    "chatml": (
        said(("user", "Hi there!"), ("assistant", "Nice to meet you!"), ("user", "Can I ask a question?")),
        (
            "<|im_start|>user\nHi there!<|im_end|>\n<|im_start|>assistant\nNice to meet you!<|im_end|>\n"
            "<|im_start|>user\nCan I ask a question?<|im_end|>\n<|im_start|>assistant\n"
        ),
    ),
    "llama3": (
        said(
            ("system", "You are a helpful AI assistant for travel tips and recommendations"),
            ("user", "What can you help me with?"),
        ),
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            "You are a helpful AI assistant for travel tips and recommendations<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhat can you help me with?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
    ),
    "llama2": (
        said(("system", "system_prompt"), ("user", "first"), ("assistant", "answer"), ("user", "second")),
        "<s>[INST] <<SYS>>\nsystem_prompt\n<</SYS>>\n\nfirst [/INST] answer </s><s>[INST] second [/INST]",
    ),
    "mistral": (
        said(
            ("user", "Hello, how are you?"),
            ("assistant", "I'm doing great. How can I help you today?"),
            ("user", "I'd like to show off how chat templating works!"),
        ),
        (
            "<s> [INST] Hello, how are you? [/INST] I'm doing great. How can I help you today?</s>"
            " [INST] I'd like to show off how chat templating works! [/INST]"
        ),
    ),
    "gemma": (
        said(("user", "knock knock"), ("assistant", "who is there"), ("user", "Gemma")),
        (
            "<bos><start_of_turn>user\nknock knock<end_of_turn>\n<start_of_turn>model\nwho is there<end_of_turn>\n"
            "<start_of_turn>user\nGemma<end_of_turn>\n<start_of_turn>model\n"
        ),
    ),
    "phi3": (
        said(("system", "You are a helpful assistant."), ("user", "How to explain Internet for a medieval knight?")),
        (
            "<|system|>\nYou are a helpful assistant.<|end|>\n"
            "<|user|>\nHow to explain Internet for a medieval knight?<|end|>\n<|assistant|>\n"
        ),
    ),
    "zephyr": (
        said(
            ("system", "You are a friendly chatbot who always responds in the style of a pirate"),
            ("user", "How many helicopters can a human eat in one sitting?"),
        ),
        (
            "<|system|>\nYou are a friendly chatbot who always responds in the style of a pirate</s>\n"
            "<|user|>\nHow many helicopters can a human eat in one sitting?</s>\n<|assistant|>\n"
        ),
    ),
}
CONVERSATION = said(("system", "Be brief."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"))
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<>[]|"), min_size=1).map(str.strip).filter(bool)


def template(text: str, **tokens: str) -> ChatTemplate:
    return ChatTemplate(
        Source(text=text, special_tokens={"bos_token": "", "eos_token": "", **tokens}),
        now=lambda: datetime(2026, 7, 4, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_template_renders_as_documented(name: str) -> None:
    """Each one gives, to the byte, what the model's maker shows."""
    messages, expected = DOCUMENTED[name]
    assert ChatTemplate.load(name).render(messages) == expected


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("chatml", "<|im_end|>"),
        ("llama3", "<|eot_id|>"),
        ("llama2", "</s>"),
        ("mistral", "</s>"),
        ("gemma", "<end_of_turn>"),
        ("phi3", "<|end|>"),
        ("zephyr", "</s>"),
    ],
)
def test_the_end_of_a_turn_is_found_in_the_template(name: str, token: str) -> None:
    """What the model writes at its end is read from the template, and is not always the tokenizer's own end."""
    assert ChatTemplate.load(name).end_of_turn == token


@pytest.mark.parametrize("name", BUILTIN)
@given(system=WORDS, asked=WORDS, begun=WORDS)
def test_a_beginning_is_continued(name: str, system: str, asked: str, begun: str) -> None:
    """A last message of the assistant's stays open at its very end, and everything that was said is there once."""
    chat = ChatTemplate.load(name)
    request = GenerateRequest(model="m", messages=said(("system", system), ("user", asked), ("assistant", begun)))
    prompt = chat.render_request(request)
    assert prompt.endswith(begun)
    without = chat.render(request.messages[:2])
    assert prompt.startswith(without.rstrip())
    assert system in without
    assert asked in without


@pytest.mark.parametrize("name", BUILTIN)
@given(texts=st.lists(WORDS, min_size=1, max_size=5))
def test_what_is_said_is_neither_lost_nor_changed(name: str, texts: list[str]) -> None:
    """Every message is in the prompt, in its order, whatever its characters: none is escaped or run as a template."""
    roles = ("user", "assistant")
    odd = texts if len(texts) % 2 else texts[:-1]
    turns = said(*((roles[at % 2], f"{{{{ {word} }}}}") for at, word in enumerate(odd)))
    prompt = ChatTemplate.load(name).render(turns)
    at = 0
    for turn in turns:
        at = prompt.index(str(turn.content), at) + len(turn.content)


def test_the_first_token_is_left_to_servers_that_add_it() -> None:
    """A prompt without it is the same prompt otherwise."""
    chat = ChatTemplate.load("llama3")
    request = GenerateRequest(model="m", messages=CONVERSATION)
    whole = chat.render_request(request)
    assert whole.startswith(chat.bos)
    assert chat.render_request(request, keep_bos=False) == whole.removeprefix(chat.bos)


def test_a_prompt_goes_as_it_is() -> None:
    """A completion has no turns: no template is put around it."""
    request = GenerateRequest(model="m", prompt="<s>Once upon")
    assert ChatTemplate.load("llama2").render_request(request, keep_bos=False) == "<s>Once upon"


def test_blanks_are_those_of_transformers() -> None:
    """Blocks take the line they stand on with them, loops can be left, and JSON is not escaped for HTML."""
    text = """{% for message in messages %}
  {% if loop.index > 1 %}
{% break %}
  {% endif %}
[{{ message.content }}]
{% endfor %}
{{ {'b': '<é>', 'a': 1} | tojson }} {{ strftime_now('%d %b %Y') }}"""
    assert template(text).render(CONVERSATION) == '[Be brief.]\n{"b": "<é>", "a": 1} 04 Jul 2026'


def test_marks_for_training_mean_nothing() -> None:
    """The tag around an assistant's words is taken, and its words stay."""
    text = "{% for m in messages %}{% generation %}{{ m.content }};{% endgeneration %}{% endfor %}"
    assert template(text).render(CONVERSATION[:2]) == "Be brief.;One?;"


def test_a_tail_that_the_template_trims_is_trimmed_when_continued() -> None:
    """Blanks at the end of what is continued are kept where the template keeps them, and only there."""
    open_end = said(("user", "hi"), ("assistant", "Well, "))
    request = GenerateRequest(model="m", messages=open_end)
    assert ChatTemplate.load("chatml").render_request(request).endswith("assistant\nWell, ")
    assert ChatTemplate.load("llama3").render_request(request).endswith("\n\nWell,")


def test_tools_go_to_a_template_that_knows_them() -> None:
    """Definitions come as transformers gives them, arguments of earlier calls as the object they are."""
    chat = template("{{ tools | tojson }}{% for m in messages %}{{ m.tool_calls | tojson }}{{ m.role }}{% endfor %}")
    call = ToolCall(id="c1", name="add", arguments='{"a":1}')
    tool = Tool(name="add", description="Adds", parameters=msgspec.Raw(b'{"type":"object"}'))
    rendered = chat.render((Message(role="assistant", tool_calls=(call,)),), tools=(tool,))
    definition = {"name": "add", "description": "Adds", "parameters": {"type": "object"}}
    called = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}
    tools = json.dumps([{"type": "function", "function": definition}])
    assert rendered == f"{tools}{json.dumps([called])}assistant"


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("chatml", (*CONVERSATION, Message(role="tool", content="4", tool_call_id="c"))),
        ("chatml", (Message(role="assistant", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),)),)),
        ("gemma", said(("user", "a"), ("user", "b"))),
        ("mistral", said(("system", "alone"))),
        ("zephyr", (Message(role="user", content=(TextPart(text="see"), ImagePart(url="data:,"))),)),
    ],
)
def test_what_a_template_has_no_place_for_is_refused(name: str, messages: tuple[Message, ...]) -> None:
    """Tool calls, turns out of order and images are told, not left out of the prompt."""
    with pytest.raises(Unsupported) as caught:
        ChatTemplate.load(name).render(messages)
    assert caught.value.param in ("messages", "messages[].content")


def test_tools_are_refused_by_a_template_without_them() -> None:
    """A model that never sees a tool could not call it."""
    with pytest.raises(Unsupported):
        ChatTemplate.load("chatml").render(CONVERSATION, tools=(Tool(name="f"),))


def test_parts_of_text_are_lines() -> None:
    """Templates take a string: several parts are joined."""
    message = Message(role="user", content=(TextPart(text="a"), TextPart(text="b")))
    assert template("{{ messages[0].content }}").render((message,)) == "a\nb"


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for _ in range(99999999) %}x{% endfor %}",
        "{{ nothing.at.all }}",
        "{{ 'x' * 9000000 }}",
    ],
)
def test_a_template_cannot_get_out_or_on_for_ever(text: str) -> None:
    """What reaches for Python's insides, changes what it is given or grows without end is stopped."""
    with pytest.raises(Unsupported):
        template(text).render(CONVERSATION)


def write(path: Path, value: object) -> str:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return f"file:{path}"


def test_a_model_brings_its_own(tmp_path: Path) -> None:
    """A tokenizer_config.json gives template and tokens, as strings or as objects that describe them."""
    option = write(
        tmp_path / "tokenizer_config.json",
        {
            "bos_token": {"content": "<B>", "lstrip": False},
            "eos_token": "<E>",
            "pad_token": None,
            "chat_template": [
                {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"},
                {"name": "tool_use", "template": "{{ tools[0].function.name }}"},
            ],
        },
    )
    chat = ChatTemplate.load(option)
    assert chat.render(CONVERSATION) == "<B>Be brief.<E>"
    assert chat.render(CONVERSATION, tools=(Tool(name="f"),)) == "f"
    assert (chat.bos, chat.end_of_turn) == ("<B>", "<E>")


def test_a_template_in_a_file_of_its_own_takes_the_tokens_beside_it(tmp_path: Path) -> None:
    """Newer models keep the template apart from the tokenizer's configuration."""
    write(tmp_path / "tokenizer_config.json", {"bos_token": "<B>", "eos_token": "<E>"})
    option = write(tmp_path / "chat_template.jinja", "{{ bos_token }}{{ messages[-1].content }}")
    assert ChatTemplate.load(option).render(CONVERSATION) == "<B>Two?"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("b.json", "[]"),
        ("c.json", {"chat_template": None}),
        ("d.jinja", "{% if %}"),
        ("e.jinja", None),
    ],
)
def test_what_is_no_template_is_told_with_the_option(tmp_path: Path, name: str, content: object) -> None:
    """A file that is not there, or not one, is found when the backend is made, under the name of the option."""
    option = f"file:{tmp_path / name}" if content is None else write(tmp_path / name, content)
    with pytest.raises(ValueError, match=r"^options\.chat_template: "):
        ChatTemplate.load(option)


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    """A slip of the pen is answered with the list."""
    with pytest.raises(ValueError, match=r"^options\.chat_template: .*llama3"):
        ChatTemplate.load("lama3")
