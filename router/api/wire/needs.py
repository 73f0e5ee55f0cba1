"""What a request asks of a backend without saying so: the capabilities that its contents show, and its parameters."""

from __future__ import annotations

from backends.contract import GenerateRequest, ImagePart, Sampling, ToolChoice
from backends.neutral import is_neutral
from router.domain.fleet import Capability, Parameter

NOTHING_ASKED: frozenset[Parameter] = frozenset()
_APART = frozenset({Parameter.STOP, Parameter.TOOL_CHOICE, Parameter.PARALLEL_TOOL_CALLS})
_OPTIONAL: tuple[tuple[str, Parameter], ...] = tuple(
    (parameter.value, parameter) for parameter in Parameter if parameter not in _APART
)
_DEFAULT = Sampling()


def derive_needs(request: GenerateRequest) -> frozenset[Capability]:
    """The capabilities without which a backend could not serve this request as it is.

    A history that holds tool calls needs a chat template that knows them, even when no tool is offered any more.
    CONTINUE after a broken stream needs prefill of the backend that takes over only, so it does not count here.
    """
    needs: set[Capability] = set()
    if request.tools:
        needs.add(Capability.TOOLS)
    for message in request.messages:
        if message.tool_calls or message.role == "tool":
            needs.add(Capability.TOOLS)
        if not isinstance(message.content, str) and any(isinstance(part, ImagePart) for part in message.content):
            needs.add(Capability.VISION)
    if request.messages and request.messages[-1].role == "assistant":
        needs.add(Capability.ASSISTANT_PREFILL)
    if request.prompt is not None:
        needs.add(Capability.TEXT_COMPLETION)
    if request.response_format is not None:
        if request.response_format.kind == "json_object":
            needs.add(Capability.JSON_OBJECT)
        elif request.response_format.kind == "json_schema":
            needs.add(Capability.JSON_SCHEMA)
    if request.sampling.logprobs:
        needs.add(Capability.LOGPROBS)
    return frozenset(needs)


def derive_parameters(sampling: Sampling, choice: ToolChoice | None = None) -> frozenset[Parameter]:
    """The parameters that are asked for; a backend that does not take one cannot serve the request as it is.

    A value that asks for nothing does not count: many clients send every parameter they know, switched off.
    """
    asked: list[Parameter] = []
    if choice is not None:
        if choice.mode in ("required", "function"):
            asked.append(Parameter.TOOL_CHOICE)
        if choice.parallel is False:
            asked.append(Parameter.PARALLEL_TOOL_CALLS)
    if sampling is _DEFAULT or sampling == _DEFAULT:
        return frozenset(asked) if asked else NOTHING_ASKED
    for name, parameter in _OPTIONAL:
        value = getattr(sampling, name)
        if value is not None and not is_neutral(name, value):
            asked.append(parameter)
    if sampling.stop:
        asked.append(Parameter.STOP)
    return frozenset(asked)
