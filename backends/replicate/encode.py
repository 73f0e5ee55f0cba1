"""A canonical request as the inputs of a prediction.

These models take a prompt, and some a system's message beside it: one turn. A conversation of several turns has no
form on this wire that every model understands, and is refused unless a chat template makes a prompt of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from backends.contract import GenerateRequest, Message, Sampling, TextPart
from backends.dialect import Dialect
from backends.errors import ModelNotServed, Unsupported
from backends.http.exchange import Outgoing

_encode_json = msgspec.json.Encoder().encode
_DOTS = frozenset({".", ".."})
_VERSION = re.compile(r"[0-9a-f]{64}")

Render = Callable[[GenerateRequest], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one backend.

    Attributes:
        deployment: the upstream model is a deployment.
        prompt_field: the model's name for its prompt, and so on.
        render: makes a prompt of a conversation; None where only single turns can be asked.
        cancel_after: how long a prediction may run.
    """

    deployment: bool = False
    prompt_field: str
    system_field: str
    max_tokens_field: str
    render: Render | None = None
    cancel_after: str = ""


def encode(request: GenerateRequest, *, upstream_model: str, dialect: Dialect, settings: Settings) -> Outgoing:
    """The request that creates the prediction.

    Raises:
        Unsupported: it asks for something that this wire has no word for.
        ModelNotServed: the upstream name is none of a model here.
    """
    _refuse_what_is_no_text(request, dialect)
    path, body = _where(upstream_model, deployment=settings.deployment)
    body["input"] = {**_prompt(request, dialect, settings), **dict(_inputs(request.sampling, dialect, settings))}
    body["stream"] = True
    headers = ((b"cancel-after", settings.cancel_after.encode()),) if settings.cancel_after else ()
    return Outgoing(path=path, body=_encode_json(body), headers=headers)


def _unsupported(dialect: Dialect, param: str, why: str) -> Unsupported:
    return Unsupported(f"{dialect.name} does not take {param}: {why}", param=param)


def _refuse_what_is_no_text(request: GenerateRequest, dialect: Dialect) -> None:
    if request.tools or (request.tool_choice is not None and request.tool_choice.mode in ("required", "function")):
        raise _unsupported(dialect, "tools", "its models have none on this wire")
    if request.response_format is not None and request.response_format.kind != "text":
        raise _unsupported(dialect, "response_format", "text only")
    if request.prompt is not None:
        raise _unsupported(dialect, "prompt", "the model puts its own template around it")
    if request.sampling.logprobs:
        raise _unsupported(dialect, "logprobs", "there are none on this wire")
    for message in request.messages:
        if message.name is not None:
            raise _unsupported(dialect, "messages[].name", "participants have no names")
        if message.tool_calls or message.role == "tool":
            raise _unsupported(dialect, "messages[].tool_calls", "its models have no tools on this wire")
        if not isinstance(message.content, str) and not all(isinstance(part, TextPart) for part in message.content):
            raise _unsupported(dialect, "messages[].content", "text only")


def _where(model: str, *, deployment: bool) -> tuple[str, dict[str, Any]]:
    name, _, version = model.partition(":")
    if not version and _VERSION.fullmatch(name):
        version = name
    if version:
        return "/v1/predictions", {"version": version}
    owner, slash, name = name.partition("/")
    if not (owner and slash and name) or "/" in name or not _DOTS.isdisjoint((owner, name)):
        raise ModelNotServed(f"{model!r} is not owner/name, owner/name:version or a version")
    kind = "deployments" if deployment else "models"
    return f"/v1/{kind}/{quote(owner, safe='')}/{quote(name, safe='')}/predictions", {}


def _prompt(request: GenerateRequest, dialect: Dialect, settings: Settings) -> dict[str, str]:
    if settings.render is not None:
        # The model's own template would go around what is a whole prompt already.
        return {settings.prompt_field: settings.render(request), "prompt_template": "{prompt}"}
    *system, last = request.messages or (Message(role="user"),)
    if last.role != "user" or any(message.role != "system" for message in system):
        raise _unsupported(dialect, "messages", "one question of a user without a chat template")
    inputs = {settings.prompt_field: _text(last)}
    if system:
        inputs[settings.system_field] = "\n\n".join(map(_text, system))
    return inputs


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content if isinstance(part, TextPart))


def _inputs(sampling: Sampling, dialect: Dialect, settings: Settings) -> Iterator[tuple[str, Any]]:
    for field in Sampling.__struct_fields__:
        value = getattr(sampling, field)
        if value is None or value == () or value is False:
            continue
        name = dialect.parameters.get(field)
        if name is None:
            raise _unsupported(dialect, field, "its models have no such input")
        if field == "stop":
            yield name, _joined(sampling.stop, dialect)
        else:
            yield settings.max_tokens_field if field == "max_output_tokens" else name, value


def _joined(stops: tuple[str, ...], dialect: Dialect) -> str:
    if any("," in stop for stop in stops):
        raise _unsupported(dialect, "stop", "a sequence with a comma in it: commas part them")
    return ",".join(stops)
