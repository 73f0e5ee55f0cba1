"""The file formats of recorders, read into interactions.

VCR YAML in the variants of vcrpy, pydantic-ai, Ruby's VCR, go-vcr and httpx; when/then documents; one interaction as
JSON; decoded payloads without frames; objects of an SDK. What cannot be read is said, file by file and interaction by
interaction: nothing is passed over in silence.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from simulation.recordings import payloads
from simulation.recordings.interaction import Framing, Interaction

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILE_BYTES = 64 * 1024 * 1024


class Unreadable(ValueError):
    """What is wrong with a file, or with one interaction in it."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and it takes the tags of other languages' writers for the plain values that they stand on."""


_Loader.yaml_implicit_resolvers = {  # a recorded date is text
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in _Loader.yaml_implicit_resolvers.items()
}


def _plain(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if suffix.endswith("binary"):
        return loader.construct_yaml_binary(node)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _plain)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)
_Loader.add_multi_constructor("tag:ruby.yaml.org,2002:", _plain)


def read_file(file: Path) -> list[Interaction | Unreadable]:
    """The interactions of a file in their order, and what cannot be read of it.

    Raises:
        Unreadable: nothing of it can.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise Unreadable(f"larger than {MAX_FILE_BYTES} bytes")
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".json":
            documents = [json.loads(text)]
        else:
            documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"not {file.suffix[1:].upper()}: {_short(error)}") from error
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error
    found: list[Interaction | Unreadable] = []
    for document in documents:
        found += _document(document)
    if not found:
        raise Unreadable("holds no interaction")
    return found


def _document(document: Any) -> Iterator[Interaction | Unreadable]:
    if not isinstance(document, dict):
        yield Unreadable(f"a document that is a {type(document).__name__}, not a mapping")
        return
    try:
        listed = document.get("interactions", document.get("http_interactions"))
        if isinstance(listed, list):
            for interaction in listed:
                yield from _guarded(_vcr, interaction)
        elif "when" in document and "then" in document:
            yield from _guarded(_when_then, document)
        elif isinstance(document.get("lines"), list):
            yield from payloads.from_events(_payloads(document["lines"]))
        elif "request" in document and "response" in document:
            yield from _guarded(_sdk_objects if _is_sdk_objects(document) else _vcr, document)
        else:
            yield payloads.from_document(document)
    except (Unreadable, payloads.UnknownPayload) as error:
        yield Unreadable(str(error))


def _guarded(read: Any, value: Any) -> Iterator[Interaction | Unreadable]:
    try:
        yield from read(value)
    except Unreadable as error:
        yield error
    except payloads.UnknownPayload as error:
        yield Unreadable(str(error))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        yield Unreadable(f"an interaction that is not of this format: {type(error).__name__}: {_short(error)}")


def _vcr(interaction: dict[str, Any]) -> Iterator[Interaction]:
    request, response = interaction["request"], interaction["response"]
    status = response.get("status_code") or response.get("code") or response.get("status")
    if isinstance(status, dict):
        status = status["code"]
    headers = _headers(response.get("headers"))
    body, framing = _body(response, headers)
    yield Interaction(
        method=str(request.get("method") or "POST").upper(),
        url=str(request.get("uri") or request.get("url")),
        request=_request_body(request),
        status=int(str(status).partition(" ")[0]),
        headers=headers,
        body=body,
        framing=framing,
    )


def _body(response: dict[str, Any], headers: dict[str, str]) -> tuple[bytes, Framing]:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"], ensure_ascii=False).encode(), "rewritten"
    value = response.get("body")
    if value is None:
        value = response.get("content", "")
    encoded = ""
    if isinstance(value, dict):
        encoded = "base64" if "base64_string" in value else ""
        value = value.get("base64_string", value.get("string"))
    return unpacked(_raw(value, encoded), headers.get("content-encoding", "")), "recorded"


def _raw(value: Any, encoded: str) -> bytes:
    if encoded == "base64":
        try:
            return base64.b64decode(value, validate=False)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Unreadable(f"a body that is not base64: {error}") from error
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()


def unpacked(raw: bytes, encoding: str) -> bytes:
    """Recorders keep a compressed body as it came, or unpacked under the header that it came with."""
    try:
        if raw[:2] == b"\x1f\x8b":
            return _inflated(raw, 16 + zlib.MAX_WBITS)
        if encoding.strip().lower() == "deflate" and raw[:1] not in (b"{", b"[", b"d", b"e", b":"):
            return _inflated(raw, zlib.MAX_WBITS)
    except zlib.error as error:
        raise Unreadable(f"a compressed body that cannot be unpacked: {error}") from error
    if encoding.strip().lower() in ("br", "zstd") and not _is_text(raw):
        raise Unreadable(f"a body compressed with {encoding}, which is not unpacked here")
    return raw


def _inflated(raw: bytes, window: int) -> bytes:
    """Unpacked, member by member, if it is whole and of a size that a recording may have."""
    found = b""
    while raw:
        member = zlib.decompressobj(window)
        found += member.decompress(raw, MAX_FILE_BYTES - len(found) + 1)
        if len(found) > MAX_FILE_BYTES:
            raise Unreadable(f"a compressed body of more than {MAX_FILE_BYTES} bytes")
        if not member.eof:
            raise Unreadable("a compressed body that cannot be unpacked: it ends too early")
        raw = member.unused_data.lstrip(b"\0")
    return found


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _request_body(request: dict[str, Any]) -> Any:
    for name in ("parsed_body", "body", "content", "json"):
        value = request.get(name)
        if value is None:
            continue
        if isinstance(value, dict) and ({"string", "base64_string"} & value.keys()):
            raw = _raw(value.get("base64_string", value.get("string")), "base64" if "base64_string" in value else "")
        elif isinstance(value, dict | list):
            return value
        else:
            raw = _raw(value, "")
        try:
            return json.loads(unpacked(raw, ""))
        except ValueError:  # also Unreadable: what was asked is only looked at, the answer is what is judged
            return None
    return None


def _headers(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else [(i["name"], i["value"]) for i in value or ()]
    found: dict[str, str] = {}
    for name, content in pairs:
        first = content[0] if isinstance(content, list) and content else content
        text = first.decode("latin-1") if isinstance(first, bytes) else str("" if first in (None, []) else first)
        found[str(name).lower()] = text.strip()
    return found


def _when_then(document: dict[str, Any]) -> Iterator[Interaction]:
    when, then = document["when"], document["then"]
    query = "&".join(f"{item['name']}={item['value']}" for item in when.get("query_param") or ())
    headers = _headers(then.get("header"))
    body = _raw(then.get("body") or "", then.get("body_encoding") or "")
    asked = when.get("body")
    if isinstance(asked, str):
        try:
            asked = json.loads(_raw(asked, when.get("body_encoding") or ""))
        except ValueError:
            asked = None
    yield Interaction(
        method=str(when.get("method") or "POST").upper(),
        url=f"{when['path']}?{query}" if query else str(when["path"]),
        request=asked,
        status=int(then["status"]),
        headers=headers,
        body=unpacked(body, headers.get("content-encoding", "")),
    )


def _payloads(lines: list[Any]) -> list[Any]:
    found = []
    for line in lines:
        text = line.removeprefix("data:").strip() if isinstance(line, str) else line
        if not isinstance(text, str):
            found.append(text)
        elif text and text != "[DONE]" and not text.startswith(("event:", "id:", ":")):
            try:
                found.append(json.loads(text))
            except ValueError as error:
                raise Unreadable(f"a recorded event that is not JSON: {_short(error)}") from error
    return found


def _is_sdk_objects(document: dict[str, Any]) -> bool:
    response = document["response"]
    return isinstance(response, dict) and ("is_streaming" in response or "is_exception" in response)


def _sdk_objects(document: dict[str, Any]) -> Iterator[Interaction]:
    request, response = document["request"], document["response"]
    url = str(request.get("url") or request.get("endpoint"))
    if request.get("endpoint") and not url.endswith(str(request["endpoint"])):
        url = str(request["endpoint"])
    body = response.get("body")
    known = {"request": request.get("body"), "method": str(request.get("method") or "POST").upper()}
    if response.get("is_exception"):
        yield replace(_exception(response), url=url, **known)
        return
    if isinstance(body, list):
        events = [_data(item) for item in body]
        if url.endswith(("/models", "/api/tags")):
            yield replace(payloads.from_document({"data": events}, url=url), **known)
        else:
            yield from (replace(answer, **known) for answer in payloads.from_events(events, url=url))
    elif body is None:
        raise Unreadable("an answer without a body")
    else:
        yield replace(payloads.from_document(_data(body), url=url), framing="ours", **known)


def _data(item: Any) -> Any:
    return item["__data__"] if isinstance(item, dict) and "__data__" in item else item


def _exception(response: dict[str, Any]) -> Interaction:
    """What an SDK raised, as the answer that it raised it for: such an SDK keeps the inner `error` of the body."""
    raised = response.get("exception_data") or {}
    if not isinstance(raised.get("status_code"), int) or response.get("body"):
        raise Unreadable("an exception of the recording client, which says nothing of the answer's bytes")
    inner = raised.get("body")
    if not isinstance(inner, dict):
        inner = {"message": str(raised.get("message") or response.get("exception_message") or "")}
    document = inner if "error" in inner else {"error": inner}
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = {"content-type": "application/json"}
    return Interaction(url="", status=int(raised["status_code"]), headers=headers, body=body, framing="ours")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
