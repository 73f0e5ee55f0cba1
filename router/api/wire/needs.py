"""What a request asks of a backend without saying so: the capabilities that its contents show."""

from __future__ import annotations

from backends.contract import GenerateRequest, ImagePart
from router.domain.fleet import Capability


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
