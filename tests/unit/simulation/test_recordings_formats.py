"""Every file format of a recorder is read, and what cannot be read is said."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path

import pytest

from simulation.recordings.formats import Unreadable, read_file
from simulation.recordings.frames import read_aws, read_lines, read_sse
from simulation.recordings.interaction import Interaction
from simulation.recordings.load import NoRecordings, load

STREAM = 'data: {"choices":[{"delta":{"content":"hé"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = {"object": "chat.completion", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


def _read(tmp_path: Path, name: str, content: str | bytes) -> list[Interaction | Unreadable]:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_file(file)


def _one(tmp_path: Path, name: str, content: str) -> Interaction:
    (found,) = _read(tmp_path, name, content)
    assert isinstance(found, Interaction), found
    return found


def _vcr(body: str, *, headers: str = "{}") -> str:
    return f"""
interactions:
- request:
    body: '{{"model": "m"}}'
    method: POST
    uri: https://api.example.com/v1/chat/completions?x=1
  response:
    body:
      string: {body}
    headers: {headers}
    status: {{code: 200, message: OK}}
version: 1
"""


def test_vcr_with_a_string_body(tmp_path: Path) -> None:
    """A text body is a string, and values of headers are lists."""
    found = _one(tmp_path, "a.yaml", _vcr(json.dumps(STREAM), headers="{Content-Type: [text/event-stream]}"))
    assert found.body == STREAM.encode()
    assert found.headers == {"content-type": "text/event-stream"}
    assert (found.path, found.host, found.request, found.status) == (
        "/v1/chat/completions",
        "api.example.com",
        {"model": "m"},
        200,
    )
    assert found.framing == "recorded"


@pytest.mark.parametrize("tag", ["!!binary", "!binary"])
def test_vcr_with_a_packed_body(tmp_path: Path, tag: str) -> None:
    """A body that was compressed on the wire is a binary in Python's or Ruby's words, and is unpacked."""
    packed = base64.b64encode(gzip.compress(STREAM.encode())).decode()
    assert _one(tmp_path, "a.yaml", _vcr(f'{tag} "{packed}"')).body == STREAM.encode()


def test_vcr_with_a_deflated_body(tmp_path: Path) -> None:
    """A zlib body is told by its header."""
    packed = base64.b64encode(zlib.compress(STREAM.encode())).decode()
    text = _vcr(f'!!binary "{packed}"', headers="{Content-Encoding: deflate}")
    assert _one(tmp_path, "a.yaml", text).body == STREAM.encode()


def test_vcr_with_parsed_bodies(tmp_path: Path) -> None:
    """pydantic-ai keeps JSON parsed: its content is recorded, its text is written again."""
    found = _one(
        tmp_path,
        "a.yaml",
        """
interactions:
- request: {method: POST, uri: "http://h/v1/messages", parsed_body: {model: m, when: 2026-01-01}}
  response: {headers: {}, status: {code: 400}, parsed_body: {error: {message: bad}}}
""",
    )
    assert json.loads(found.body) == {"error": {"message": "bad"}}
    assert found.request == {"model": "m", "when": "2026-01-01"}
    assert (found.status, found.framing) == (400, "rewritten")


def test_vcr_of_httpx(tmp_path: Path) -> None:
    """Older httpx stubs say `content` and `status_code`."""
    found = _one(
        tmp_path,
        "a.yaml",
        """
interactions:
- request: {body: "", method: GET, uri: "http://h/v1/models"}
  response: {content: '{"data": []}', headers: {}, http_version: HTTP/1.1, status_code: 200}
""",
    )
    assert (found.method, found.body) == ("GET", b'{"data": []}')


def test_vcr_of_go(tmp_path: Path) -> None:
    """go-vcr keeps the body as a string beside `code`, and a status in words."""
    found = _one(
        tmp_path,
        "a.yaml",
        """
version: 2
interactions:
- id: 0
  request: {body: '{"model":"m"}', url: "http://h/v1/chat/completions", method: POST, headers: {}}
  response: {body: '{"a":1}', code: 429, status: 429 Too Many Requests, headers: {Retry-After: ["3"]}}
""",
    )
    assert (found.status, found.headers["retry-after"], found.body) == (429, "3", b'{"a":1}')


def test_ruby_vcr(tmp_path: Path) -> None:
    """Ruby's VCR says http_interactions, and may keep a body in base64."""
    packed = base64.b64encode(STREAM.encode()).decode()
    found = _one(
        tmp_path,
        "a.yml",
        f"""
http_interactions:
- request: {{method: post, uri: "http://h/v1/chat/completions", body: {{encoding: UTF-8, string: '{{"model":"m"}}'}}}}
  response:
    status: {{code: 200, message: OK}}
    headers: {{Content-Type: [text/event-stream]}}
    body: {{encoding: ASCII-8BIT, base64_string: {packed}}}
recorded_with: VCR 6.3.1
""",
    )
    assert (found.body, found.method, found.request) == (STREAM.encode(), "POST", {"model": "m"})


def test_when_then(tmp_path: Path) -> None:
    """Each document is one exchange; a binary body is base64, and the query is apart."""
    packed = base64.b64encode(b"\x00\x01").decode()
    text = f"""
when:
  path: /a:streamGenerateContent
  method: POST
  query_param: [{{name: alt, value: sse}}]
  body: '{{"contents":[]}}'
then: {{status: 200, header: [{{name: Content-Type, value: text/event-stream}}], body: "data: 1\\n\\n"}}
---
when: {{path: /model/m/converse-stream, method: POST}}
then: {{status: 200, header: [], body: {packed}, body_encoding: base64}}
"""
    first, second = _read(tmp_path, "a.yaml", text)
    assert isinstance(first, Interaction)
    assert isinstance(second, Interaction)
    assert (first.url, first.request) == ("/a:streamGenerateContent?alt=sse", {"contents": []})
    assert second.body == b"\x00\x01"


def test_one_interaction_as_json(tmp_path: Path) -> None:
    """dd-trace-py keeps an exchange in a JSON document."""
    value = {
        "request": {"method": "POST", "url": "http://h/v1/chat/completions", "headers": {}, "body": '{"model":"m"}'},
        "response": {"status": {"code": 200, "message": "OK"}, "headers": {"X-A": "b"}, "body": STREAM},
    }
    found = _one(tmp_path, "a.json", json.dumps(value))
    assert (found.body, found.headers) == (STREAM.encode(), {"x-a": "b"})


def test_decoded_chat_events(tmp_path: Path) -> None:
    """Payloads without frames get the frames of their wire, an answer for each id; Azure's first event has none."""
    lines = [
        {"id": "", "choices": [], "object": ""},
        *({"id": name, "object": "chat.completion.chunk", "choices": []} for name in ("a", "a", "b")),
    ]
    found = _read(tmp_path, "a.chunks.json", json.dumps({"lines": [json.dumps(line) for line in lines]}))
    bodies = [[event.data for event in read_sse(item.body)] for item in found if isinstance(item, Interaction)]
    assert [len(body) for body in bodies] == [4, 2]
    assert all(body[-1] == "[DONE]" for body in bodies)
    assert {item.framing for item in found if isinstance(item, Interaction)} == {"ours"}


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "message_start", "message": {}}, "/messages"),
        ({"type": "response.created"}, "/responses"),
        ({"candidates": []}, ":streamGenerateContent"),
    ],
)
def test_decoded_events_of_other_wires(tmp_path: Path, event: dict[str, object], path: str) -> None:
    """The wire of decoded events is told by what they look like."""
    found = _one(tmp_path, "a.json", json.dumps({"lines": [json.dumps(event)]}))
    assert found.path.endswith(path)
    assert json.loads(read_sse(found.body)[0].data) == event


def test_decoded_bedrock_events(tmp_path: Path) -> None:
    """Events of Converse get AWS frames whose checksums hold."""
    lines = [json.dumps({"messageStart": {"role": "assistant"}}), json.dumps({"messageStop": {"stopReason": "x"}})]
    found = _one(tmp_path, "a.json", json.dumps({"lines": lines}))
    events, is_whole = read_aws(found.body)
    assert [(event.kind, json.loads(event.payload)) for event in events] == [
        ("messageStart", {"role": "assistant"}),
        ("messageStop", {"stopReason": "x"}),
    ]
    assert is_whole


def _sdk(**response: object) -> str:
    request = {"method": "POST", "url": "http://h/v1/v1/chat/completions", "endpoint": "/v1/chat/completions"}
    return json.dumps({"request": {**request, "body": {"model": "m"}}, "response": response})


def test_sdk_objects(tmp_path: Path) -> None:
    """Objects of an SDK become the document, or the stream, that they were made of."""
    whole = _one(tmp_path, "a.json", _sdk(body={"__type__": "T", "__data__": ANSWER}, is_streaming=False))
    assert json.loads(whole.body) == ANSWER
    assert whole.path.endswith("/chat/completions")
    event = {"__type__": "T", "__data__": {"object": "chat.completion.chunk", "choices": []}}
    stream = _one(tmp_path, "b.json", _sdk(body=[event], is_streaming=True))
    assert [item.data for item in read_sse(stream.body)][-1] == "[DONE]"
    assert whole.framing == stream.framing == "ours"


def test_ollama_sdk_objects(tmp_path: Path) -> None:
    """Objects of Ollama's SDK become lines."""
    event = {"__type__": "T", "__data__": {"message": {"content": "hi"}, "done": True}}
    value = json.loads(_sdk(body=[event], is_streaming=True))
    value["request"] |= {"url": "http://h/api/chat", "endpoint": "/api/chat"}
    found = _one(tmp_path, "a.json", json.dumps(value))
    assert read_lines(found.body) == [event["__data__"]]


def test_sdk_exception(tmp_path: Path) -> None:
    """An SDK keeps the inner error of a refusal; it becomes the answer that was refused with."""
    raised = {"category": "provider_sdk", "status_code": 404, "message": "no", "body": {"code": "model_not_found"}}
    found = _one(tmp_path, "a.json", _sdk(body=None, is_streaming=False, is_exception=True, exception_data=raised))
    assert (found.status, json.loads(found.body)) == (404, {"error": {"code": "model_not_found"}})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.yaml", "", "holds no interaction"),
        ("a.yaml", "a: [1,", "not YAML"),
        ("a.yaml", "- 1\n- 2\n", "not a mapping"),
        ("a.yaml", "interactions: []", "holds no interaction"),
        ("a.yaml", "interactions:\n- request: {uri: x}\n", "not of this format"),
        ("a.yaml", "interactions:\n- 7\n", "not of this format"),
        ("a.yaml", _vcr('!!binary "H4sIAAAA"'), "cannot be unpacked"),
        ("a.yaml", _vcr('!!binary "gIGCgw=="', headers="{Content-Encoding: br}"), "compressed with br"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "not a mapping"),
        ("a.json", '{"lines": []}', "holds none"),
        ("a.json", '{"lines": ["{"]}', "not JSON"),
        ("a.json", '{"lines": ["{}"]}', "no endpoint that is known"),
        ("a.json", '{"a": 1}', "no endpoint that is known"),
        ("a.json", _sdk(body=None, is_streaming=False), "without a body"),
        ("a.json", _sdk(is_exception=True, exception_data={"category": "unknown"}), "recording client"),
        ("a.json", b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    """What cannot be read is reported with its reason, and is never an exception of another kind."""
    try:
        (found,) = _read(tmp_path, name, content)
    except Unreadable as error:
        found = error
    assert isinstance(found, Unreadable)
    assert reason in str(found)


def test_a_broken_interaction_leaves_the_others(tmp_path: Path) -> None:
    """One interaction that cannot be read does not take its file with it."""
    good, bad = _read(tmp_path, "a.yaml", _two())
    assert isinstance(good, Interaction)
    assert isinstance(bad, Unreadable)


def _two() -> str:
    return _vcr('"{}"').replace("version: 1", "- {request: {}, response: {}}")


def test_a_folder(tmp_path: Path) -> None:
    """A provider is a folder; indexes and notes are no recordings; what cannot be read is listed by its path."""
    (tmp_path / "groq").mkdir()
    (tmp_path / "groq" / "good.yaml").write_text(_vcr('"{}"'))
    (tmp_path / "groq" / "bad.yaml").write_text("a: [1,")
    (tmp_path / "index.json").write_text("[]")
    (tmp_path / "NOTES.md").write_text("")
    library = load(tmp_path)
    assert [(item.provider, item.id) for item in library.interactions] == [("groq", "groq/good.yaml#0")]
    assert [(trouble.file, trouble.provider) for trouble in library.unreadable] == [("groq/bad.yaml", "groq")]
    assert library.others == ["NOTES.md", "index.json"]
    assert library.files == {"groq": 2}


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is missing, is a file or is empty says which."""
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, reason in (("none", "no such directory"), ("file", "not a directory"), ("empty", "no recordings")):
        with pytest.raises(NoRecordings, match=reason):
            load(tmp_path / name)


def test_a_prediction_and_its_stream_are_one(tmp_path: Path) -> None:
    """The stream that a prediction names belongs to it; other requests stand alone."""
    created = json.dumps({"id": "p", "urls": {"stream": "https://s/1", "get": "https://g/1"}})
    (tmp_path / "a.yaml").write_text(
        json.dumps(
            {
                "interactions": [
                    _exchange("POST", "https://a/v1/models/o/m/predictions", 201, created),
                    _exchange("GET", "https://s/1", 200, "event: done\ndata: {}\n\n"),
                    _exchange("GET", "https://a/v1/models", 200, "[]"),
                ]
            }
        )
    )
    first, second = load(tmp_path).interactions
    assert [part.url for part in first.later] == ["https://s/1"]
    assert second.path == "/v1/models"


def _exchange(method: str, uri: str, status: int, body: str) -> dict[str, object]:
    return {
        "request": {"method": method, "uri": uri, "body": ""},
        "response": {"status": {"code": status}, "headers": {}, "body": {"string": body}},
    }
