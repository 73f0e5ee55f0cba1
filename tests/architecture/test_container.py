"""The Dockerfile: what it copies exists, it runs without root, and its health check says the truth."""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.architecture.conftest import Run


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, in order."""
    text = (root / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]]


def test_images_are_named_without_a_registry_and_with_a_tag(instructions: list[tuple[str, str]]) -> None:
    """Each FROM names an image of the default registry at a version that the project supports."""
    images = [rest.split()[0] for word, rest in instructions if word == "FROM"]

    assert len(images) == 2
    assert all(re.fullmatch(r"python:3\.1[1-9](-slim)?", image) for image in images)


def test_everything_that_is_copied_is_tracked_and_not_ignored(
    instructions: list[tuple[str, str]], root: Path, tracked: tuple[Path, ...]
) -> None:
    """A build from a clean clone finds each source, and .dockerignore lets it through."""
    let_through = {line[1:] for line in (root / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"}
    sources = [rest.split()[0] for word, rest in instructions if word == "COPY" and not rest.startswith("--from")]

    assert set(sources) == let_through
    for source in sources:
        assert any(path.is_relative_to(source) for path in tracked), source


def test_it_runs_without_root_and_stops_by_sigterm(instructions: list[tuple[str, str]]) -> None:
    """The user is a number other than root's, so that a cluster can check it, and SIGTERM drains."""
    last = dict(instructions)

    assert int(last["USER"]) > 0
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_it_starts_the_one_program(instructions: list[tuple[str, str]]) -> None:
    """The entry point is `python -m router`, the same program as inference-router, with its own configuration."""
    last = dict(instructions)

    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", "router"]
    assert json.loads(last["CMD"])[0] == "serve"
    assert importlib.util.find_spec("router.__main__") is not None


@pytest.mark.parametrize(("status", "healthy"), [(HTTPStatus.OK, True), (HTTPStatus.SERVICE_UNAVAILABLE, False)])
def test_the_health_check_says_what_readyz_says(
    instructions: list[tuple[str, str]], root: Path, run: Run, status: HTTPStatus, *, healthy: bool
) -> None:
    """The image's health check succeeds when /readyz does, and only then."""
    check = dict(instructions)["HEALTHCHECK"].partition("CMD ")[2]
    program, *arguments = json.loads(check)
    assert program == "python"

    with _answering({"/readyz": status}) as port:
        moved = [argument.replace("'8080'", f"'{port}'") for argument in arguments]
        assert moved != arguments
        result = run([sys.executable, *moved], root)

    assert (result.returncode == 0) is healthy, result.stderr


@contextmanager
def _answering(statuses: Mapping[str, HTTPStatus]) -> Iterator[int]:
    """A server on a free port that answers these paths, and 404 elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.get(self.path, HTTPStatus.NOT_FOUND))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
