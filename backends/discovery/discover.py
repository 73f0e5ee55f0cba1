"""Finds out what serves at an address: the wire, the dialect, the models, and whether it tells its load.

A hosted service is told by its host and is not asked; a server of one's own is asked harmless questions (`clues`). What
was found is then tried with the adapter itself, so that what is printed is what would work.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import httpx
import msgspec

from backends import auth, registry
from backends.contract import LoadReport
from backends.discovery.clues import CLUES, Answer, Clue
from backends.discovery.facts import Facts, FoundModel, facts_of
from backends.discovery.hosts import known_host
from backends.spec import BackendSpec

MAX_BODY_BYTES = 4 * 1024 * 1024
_TPU_GAUGES = "vllm:tpu_"
# To ask how a server is any template will do; which one its model has, whoever registers it must say.
ANY_TEMPLATE = {"chat_template": "chatml"}
_NOBODY = Answer(status=0, headers={}, value=None, text="", http_version="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What serves there.

    Attributes:
        title: of the engine or service, for people; "" when nothing was recognised.
        address: to register, which may differ from the one that was asked.
        place: "device" (loopback), "own" (a private network) or "elsewhere".
        emulated: it says so itself.
        report: what the adapter's own probe says; None for a hosted service that was not asked.
        asked: every question and its answer, for when nothing was recognised.
    """

    address: str
    title: str = ""
    wire: str = ""
    profile: str = ""
    options: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    place: str = "elsewhere"
    emulated: bool = False
    report: LoadReport | None = None
    asked: tuple[tuple[str, str], ...] = ()

    @property
    def tells_load(self) -> bool:
        return self.report is not None and self.report.running is not None


class _Questions:
    """Asks each path once."""

    def __init__(self, base: str, client: httpx.AsyncClient, secret: str | None) -> None:
        self._base = base.rstrip("/").removesuffix("/v1")
        self._client = client
        self._headers = {"authorization": f"Bearer {secret}", "x-api-key": secret} if secret else {}
        self.answers: dict[str, Answer] = {}
        self.log: list[tuple[str, str]] = []

    async def ask(self, path: str) -> Answer:
        if path not in self.answers:
            self.answers[path], outcome = await self._get(path)
            self.log.append((f"GET {path}", outcome))
        return self.answers[path]

    async def _get(self, path: str) -> tuple[Answer, str]:
        body = bytearray()
        try:
            async with self._client.stream(
                "GET", self._base + path, headers=self._headers, follow_redirects=False
            ) as response:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _NOBODY, f"{type(error).__name__}: {str(error)[:100]}".rstrip(": ")
        value = None
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            value = msgspec.json.decode(bytes(body))
        answer = Answer(
            status=response.status_code,
            headers=response.headers,
            value=value,
            text=body.decode("utf-8", "replace"),
            http_version=response.http_version,
        )
        return answer, f"HTTP {response.status_code}"


async def discover(
    url: str,
    *,
    client: httpx.AsyncClient,
    transport: httpx.AsyncBaseTransport,
    env: Mapping[str, str],
    credential: str | None = None,
    timeout_s: float = 5.0,
) -> Discovery:
    """Asks `url`. The client's own timeout bounds each question, `timeout_s` the adapter's probe.

    Raises:
        ValueError: no address.
        backends.auth.MissingCredential, backends.auth.InvalidReference: of `credential`.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"http", "https", "grpc", "grpcs"}:
        raise ValueError("expected http://HOST:PORT, https://HOST or grpc://HOST:PORT")
    secret = auth.resolve(credential, env)
    place = _place(parts.hostname)
    if service := known_host(parts.hostname):
        host, options = service
        return Discovery(
            address=url, title=host.title, wire=host.wire, profile=host.profile, options=options, place=place
        )
    found = Discovery(address=url, place=place)
    if parts.scheme in {"http", "https"}:
        found = await _over_http(found, _Questions(url, client, secret))
    candidates = [found] if found.wire else _over_grpc(found)
    for candidate in candidates:
        spec = BackendSpec(
            id="discovered",
            wire=candidate.wire,
            profile=candidate.profile,
            base_url=candidate.address,
            credential=credential,
            options=candidate.options,
        )
        with contextlib.suppress(ValueError):  # a wire whose packages are not installed cannot be tried
            adapter = registry.build(spec, transport=transport, control=client, env=env)
            try:
                report = await adapter.probe(timeout_s=timeout_s)
            finally:
                await adapter.aclose()
            if report.healthy or found.wire:
                return _with_report(candidate, report)
    return found


async def _over_http(found: Discovery, questions: _Questions) -> Discovery:
    clue = await _first_clue(questions)
    emulated = any(answer.headers.get("x-emulated") == "true" for answer in questions.answers.values())
    if clue is None:
        return replace(found, asked=tuple(questions.log), emulated=emulated)
    profile, address = clue.profile, found.address
    facts = await facts_of(profile, questions.ask)
    if profile == "vllm" and _TPU_GAUGES in (await questions.ask("/metrics")).text:
        profile = "vllm_tpu"
    options: dict[str, str] = {}
    if clue.wire == "triton":
        address, options = _grpc_port(address), ANY_TEMPLATE
    return replace(
        found,
        address=address,
        title=clue.title,
        wire=clue.wire,
        profile=profile,
        options=options,
        facts=facts,
        asked=tuple(questions.log),
        emulated=emulated,
    )


async def _first_clue(questions: _Questions) -> Clue | None:
    for clue in CLUES:
        answer = await questions.ask(clue.path)
        if clue.tells(answer):
            return clue
        if answer.status == 0 and "Connect" in questions.log[0][1]:
            return None  # nobody is there: the other questions would meet the same silence
    return None


def _over_grpc(found: Discovery) -> list[Discovery]:
    """What may speak gRPC there; who it is, the adapters' own probes tell."""
    if urlsplit(found.address).scheme not in {"grpc", "grpcs"}:
        return []
    return [
        replace(found, title="Triton", wire="triton", profile="tensorrtllm", options=ANY_TEMPLATE),
        replace(found, title="JetStream", wire="jetstream", profile="jetstream", options=ANY_TEMPLATE),
    ]


def _with_report(found: Discovery, report: LoadReport) -> Discovery:
    models = found.facts.models or tuple(FoundModel(name=name) for name in report.models or ())
    return replace(found, report=report, facts=replace(found.facts, models=models))


def _grpc_port(address: str) -> str:
    """Triton's gRPC port is by custom the one after its HTTP port."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 8000)
    return f"{'grpcs' if parts.scheme == 'https' else 'grpc'}://{parts.hostname}:{port + 1}"


def _place(host: str) -> str:
    if host == "localhost":
        return "device"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "own" if "." not in host or host.endswith((".local", ".internal", ".lan")) else "elsewhere"
    if address.is_loopback:
        return "device"
    return "own" if address.is_private else "elsewhere"
