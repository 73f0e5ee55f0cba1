"""A backend in a YAML file, as `admin backends register` and `update` take it.

Either one backend with its id (`id: my-vllm`, then the keys of fleet.yaml), or a `backends:` section like fleet.yaml's.
Keys, values and units are checked here, by the rules of fleet.yaml; references are checked by the router, which has the
catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from router.domain.fleet import Backend
from router.settings.backend_rules import wrong_credential
from router.settings.fleet import BackendEntry, FleetFile, backend_of, substitute
from router.settings.strict import ConfigError, Problem, check, parse_text
from router.settings.yaml_text import Document


class BackendFile(BackendEntry):
    """One backend, with its id among its keys."""

    id: str


def read_backends(path: Path, env: Mapping[str, str]) -> list[Backend]:
    """The backends of a file.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    problems: list[Problem] = []
    try:
        document = parse_text(path.read_text(encoding="utf-8"), path.name, problems)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(path.name, "", f"cannot be read: {error}")]) from error
    entries: dict[str, BackendEntry] = {}
    prefix = "backends.{}."
    if document is not None:
        entries, prefix = _entries(document, path.name, problems)
    found: list[Backend] = []
    for name, entry in entries.items():
        where = prefix.format(name)
        address, wrong = substitute(entry.address, env)
        if wrong:
            problems.append(Problem(path.name, f"{where}address", wrong))
        # Before it is sent anywhere: what is written here may be the secret itself.
        wrong = wrong_credential(entry.credential)
        if wrong:
            problems.append(Problem(path.name, f"{where}credential", wrong))
        if entry.drained:
            what = "not part of a registration; use 'admin backends drain'"
            problems.append(Problem(path.name, f"{where}drained", what))
        found.append(backend_of(name, entry, address))
    if not found and not problems:
        problems.append(Problem(path.name, "", "names no backend"))
    if problems:
        raise ConfigError(problems)
    return found


def _entries(document: Document, file: str, problems: list[Problem]) -> tuple[dict[str, BackendEntry], str]:
    if isinstance(document.value, dict) and "backends" in document.value:
        fleet = check(FleetFile, document, file, problems)
        return (dict(fleet.backends) if fleet else {}), "backends.{}."
    one = check(BackendFile, document, file, problems)
    return ({one.id: one} if one else {}), ""
