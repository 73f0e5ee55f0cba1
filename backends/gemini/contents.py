"""The turns of a conversation as Google's contents.

A call's result names the function and not only the call, so the name is looked up in the turn that made it. Signatures
prove that a call is the model's own; for a call that another vendor's model made there is a documented word that says
so, without which the newer models refuse the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from backends.contract import ImagePart, Message, ReasoningBlock, TextPart, ToolCall
from backends.data_urls import inline
from backends.errors import Unsupported
from backends.gemini.decode import VENDOR
from backends.gemini.dialects import GeminiDialect
from backends.raw_json import object_of
from backends.signatures import own

NOT_OUR_CALL = "skip_thought_signature_validator"

# A fetched image must be sent with its type, which nothing but its name tells.
_KINDS = {name: f"image/{name}" for name in ("png", "webp", "gif", "heic", "heif", "bmp")}

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Wire = dict[str, Any]


class Contents:
    """Encodes the turns for one kind of model.

    Args:
        dialect: who is spoken to.
        older: a model from before signatures were checked and results could hold images.
    """

    def __init__(self, dialect: GeminiDialect, *, older: bool) -> None:
        self._dialect = dialect
        self._older = older

    def encode(self, messages: tuple[Message, ...]) -> tuple[list[Wire], list[Wire]]:
        """The parts of the system instruction, and the contents.

        Raises:
            Unsupported: a turn that this wire cannot say.
        """
        system: list[Wire] = []
        contents: list[Wire] = []
        called: dict[str, str] = {}
        was_result = False
        for message in messages:
            if message.role != "tool" and message.name is not None:
                raise self._cannot("messages[].name")
            if message.role == "system":
                system += self._instructions(message)
                continue
            if message.role == "assistant":
                called.update((call.id, call.name) for call in message.tool_calls)
                parts = list(self._answer(message))
                if parts:
                    contents.append({"role": "model", "parts": parts})
            elif message.role == "tool":
                parts = self._result(message, called)
                if was_result:  # the results of one turn belong together
                    contents[-1]["parts"] += parts
                else:
                    contents.append({"role": "user", "parts": parts})
            else:
                contents.append({"role": "user", "parts": list(self._parts(message))})
            was_result = message.role == "tool"
        if not contents:
            raise self._cannot("messages", "one message of a user is needed")
        if contents[-1]["role"] == "model":
            raise self._cannot("messages", "an answer cannot be continued")
        return system, contents

    def _instructions(self, message: Message) -> list[Wire]:
        parts = list(self._parts(message))
        if any("text" not in part for part in parts):
            raise self._cannot("messages[].content", "no images in instructions")
        return parts

    def _answer(self, message: Message) -> Iterator[Wire]:
        """Thought, text, calls: in the order in which the model gave them."""
        kept = [block for block in message.reasoning if self._is_ours(block)]
        text = [part for part in self._parts(message) if part.get("text") != ""]
        signature = next((block.signature for block in reversed(kept) if block.signature), None)
        parts: list[Wire] = [{"text": block.text, "thought": True} for block in kept if block.text]
        parts += text
        if signature is not None and parts:
            parts[-1]["thoughtSignature"] = own(VENDOR, signature, unmarked=False)
        yield from parts
        for place, call in enumerate(message.tool_calls):
            yield self._call(call, is_first=place == 0)

    @staticmethod
    def _is_ours(block: ReasoningBlock) -> bool:
        if block.redacted:
            return False
        return block.signature is None or own(VENDOR, block.signature, unmarked=False) is not None

    def _call(self, call: ToolCall, *, is_first: bool) -> Wire:
        arguments = object_of(call.arguments).strip()
        if not _is_object(arguments):
            raise self._cannot("messages[].tool_calls[].function.arguments", "only a JSON object")
        wire: Wire = {"functionCall": {"id": call.id, "name": call.name, "args": msgspec.Raw(arguments.encode())}}
        signature = own(VENDOR, call.signature, unmarked=True)
        if signature is None and is_first and not self._older:
            signature = NOT_OUR_CALL  # of calls made together only the first is signed
        if signature is not None:
            wire["thoughtSignature"] = signature
        return wire

    def _result(self, message: Message, called: dict[str, str]) -> list[Wire]:
        call_id = message.tool_call_id or ""
        name = called.get(call_id) or message.name
        if name is None:
            raise self._cannot("messages[].tool_call_id", f"no earlier message makes the call {call_id!r}")
        parts = list(self._parts(message))
        text = "".join(part["text"] for part in parts if "text" in part)
        media = [part for part in parts if "text" not in part]
        said: Any = msgspec.Raw(text.encode()) if _is_object(text) else {"output": text}
        response: Wire = {"id": call_id, "name": name, "response": said}
        if media and not self._older:
            response["parts"] = media
            media = []
        return [{"functionResponse": response}, *media]

    def _parts(self, message: Message) -> Iterator[Wire]:
        content = (TextPart(text=message.content),) if isinstance(message.content, str) else message.content
        for part in content:
            yield self._image(part) if isinstance(part, ImagePart) else {"text": part.text}

    def _image(self, image: ImagePart) -> Wire:
        try:
            data = inline(image.url)
        except ValueError as error:
            raise self._cannot("messages[].content", str(error)) from error
        if data is not None:
            return {"inlineData": {"mimeType": data.media_type, "data": data.base64}}
        scheme, _, path, *_ = urlsplit(image.url)
        if scheme not in self._dialect.image_schemes:
            raise self._cannot("messages[].content", f"no images by {scheme or 'such'} addresses")
        kind = _KINDS.get(path.rpartition(".")[2].lower(), "image/jpeg")
        return {"fileData": {"fileUri": image.url, "mimeType": kind}}

    def _cannot(self, param: str, why: str = "") -> Unsupported:
        return unsupported(self._dialect, param, why)


def unsupported(dialect: GeminiDialect, param: str, why: str = "") -> Unsupported:
    return Unsupported(f"{dialect.name} does not take {param}{': ' if why else ''}{why}", param=param)


def _is_object(text: str) -> bool:
    try:
        _decode_object(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
