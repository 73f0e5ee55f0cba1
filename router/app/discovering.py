"""From an address to the YAML that registers what serves there: what was found, in the words of fleet.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx

from backends import registry
from backends.auth import InvalidReference, MissingCredential
from backends.discovery.discover import Discovery, discover
from backends.discovery.facts import FoundModel
from backends.http.transport import FastTransport
from router.domain.catalogue import Catalogue

QUESTION_LIMIT_S = 5.0
EMULATED = " (emulated: it says so itself)"
_ADVICE = {"chat_template": " # or the template that the model was trained with: a name, or file:PATH"}
_PRIVACY = {"device": "on_device", "own": "own_hardware", "elsewhere": "any"}
# Of the family, but not of every model: whoever registers it says so.
_OF_THE_MODEL = frozenset({"vision", "audio", "reasoning", "tools", "batch"})
_NOISE = re.compile(
    r"[-.](?:instruct|chat|it|hf|turbo|versatile|instant|preview|latest|gguf|awq|gptq|fp8|fp16|bf16|int4|int8|4bit|8bit"
    r"|q\d(?:[._-]\w+)*|v\d+(?:\.\d+)*(?::\d+)?|\d{8}|\d{4})$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A model as the server calls it, and the one of the catalogue that it seems to be."""

    found: FoundModel
    model: str
    is_known: bool


class CannotAsk(Exception):
    """`argument` is what was wrong, "url" or "credential"."""

    def __init__(self, argument: str, why: str) -> None:
        super().__init__(why)
        self.argument = argument


async def find(url: str, *, env: Mapping[str, str], credential: str | None) -> Discovery:
    """Asks what serves there; see `backends.discovery.discover`.

    Raises:
        CannotAsk: nobody was asked.
    """
    transport = FastTransport()
    limits = httpx.Timeout(QUESTION_LIMIT_S)
    async with httpx.AsyncClient(timeout=limits, trust_env=False) as client:
        try:
            return await discover(url, client=client, transport=transport, env=env, credential=credential)
        except (InvalidReference, MissingCredential) as error:
            raise CannotAsk("credential", str(error)) from error
        except ValueError as error:
            raise CannotAsk("url", str(error)) from error
        finally:
            await transport.aclose()


def match(models: Iterable[FoundModel], catalogue: Catalogue) -> list[Match]:
    """Each model with its name in the catalogue, or a name made of its own where the catalogue has none like it."""
    known = {_plain(name): name for name in (*catalogue.models, *catalogue.aliases)}
    matches: list[Match] = []
    for found in models:
        name = known.get(_plain(found.name))
        own = re.sub(r"[^a-z0-9._-]+", "-", found.name.rpartition("/")[2].lower()).strip("-._")[:63] or "model"
        matches.append(
            Match(found=found, model=catalogue.aliases.get(name, name) if name else own, is_known=bool(name))
        )
    return matches


def _plain(name: str) -> str:
    """Without its owner and what says how it was packed: meta-llama/Llama-3.1-8B-Instruct is llama318b."""
    text = name.rpartition("/")[2].lower().replace("meta-llama", "llama").replace("_", "-").removesuffix(".gguf")
    text = text.replace(":", "-")
    while (shorter := _NOISE.sub("", text)) != text:
        text = shorter
    return re.sub(r"[^a-z0-9]", "", text)


def as_yaml(found: Discovery, matches: list[Match], *, backend_id: str, credential: str | None) -> str:
    """The entry for fleet.yaml; what was guessed says so, and what nobody can know from outside is asked for."""
    features = registry.wire(found.wire).dialect(found.profile).features
    capabilities = sorted(features.capabilities - _OF_THE_MODEL)
    lines = [
        f"# {f'{found.title} {found.facts.version}'.rstrip()} at {found.address}{EMULATED if found.emulated else ''}",
        "backends:",
        f"  {backend_id}:",
        f"    wire: {found.wire}",
        f"    profile: {found.profile}",
        f"    address: {found.address}",
    ]
    if found.options:
        lines.append("    options:")
        lines += [f"      {name}: {value}{_ADVICE.get(name, '')}" for name, value in found.options.items()]
    if credential:
        lines.append(f"    credential: {credential}")
    elif found.report is None:
        lines.append("    credential: env:YOUR_KEY # the name of the variable that holds the key")
    lines.append(
        "    hardware: hosted # or an entry of hardware.yaml, with hardware_count: it cannot be seen from outside"
    )
    if found.emulated:
        lines.append("    emulated: true")
    lines.append(f"    privacy: {_PRIVACY[found.place]} # a guess, by the address")
    lines.append(f"    capabilities: [{', '.join(capabilities)}]")
    more = sorted(features.capabilities & _OF_THE_MODEL)
    if more:
        lines.append(f"    # the wire also carries {', '.join(more)}: add what the model can do")
    if found.facts.max_concurrency:
        lines.append(f"    max_concurrency: {found.facts.max_concurrency}")
    lines.append("    models:")
    lines += [_model_line(entry) for entry in matches]
    if not matches:
        lines.append("      - { model: NAME, upstream_name: NAME-THERE } # it lists none")
    return "\n".join(lines)


def _model_line(entry: Match) -> str:
    fields = [f"model: {entry.model}"]
    if entry.found.name != entry.model:
        fields.append(f'upstream_name: "{entry.found.name}"')
    if entry.found.context_tokens:
        fields.append(f"context_tokens: {entry.found.context_tokens}")
    comment = "" if entry.is_known else " # not in models.yaml: add it there, or an alias"
    return f"      - {{ {', '.join(fields)} }}{comment}"
