"""`admin plan`, `apply`, `history` and `rollback`: the configuration as transactions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from router.api.wire.config import decode_difference
from router.cli.admin_backends import show_config_error
from router.cli.options import SECONDS
from router.cli.rpc import ADMIN_TIMEOUT_S, EXIT_FAILED, admin_address_option, config_stub, connected, json_option
from router.cli.show import dollars, print_message, print_table, seconds
from router.settings.differences import REMOVE, counted, headline, title, words
from router.settings.strict import ConfigError, Problem, read_text
from router.v1 import config_pb2 as pb

KNOWN_FILES = ("fleet.yaml", "prices.yaml", "policies.yaml", "tenants.yaml")
PLAN_TIMEOUT_S = 60.0
DEFAULT_WAIT_S = 5.0
_LINE = 110

FILES = click.argument(
    "paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
PRUNE = click.option("--prune", is_flag=True, help="Also remove what a file of its kind does not name.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
NOTE = click.option("--note", default="", help="Why; kept in the history.")
WAIT = click.option("--wait", "wait_s", **SECONDS, help="How long to wait for the replicas. Default: 5 s.")


@click.command()
@FILES
@PRUNE
@admin_address_option
@json_option
def plan(*, paths: tuple[Path, ...], prune: bool, address: str, as_json: bool) -> None:
    """Shows what the FILEs would change, and what that would have done to recent traffic; changes nothing.

    Files are those of config/: fleet, prices, policies and tenants, known by what is in them; a directory stands for
    those of them that it holds. ${NAME} in addresses is taken from the environment of the router, as at its start.
    """
    files = _read(paths, as_json=as_json)
    with connected(address, as_json=as_json) as channel:
        response = config_stub(channel).Plan(pb.PlanRequest(files=files, prune=prune), timeout=PLAN_TIMEOUT_S)
    if as_json:
        print_message(response)
    else:
        _show_plan(response)


@click.command()
@FILES
@PRUNE
@YES
@NOTE
@WAIT
@admin_address_option
@json_option
def apply(
    *, paths: tuple[Path, ...], prune: bool, yes: bool, note: str, wait_s: float | None, address: str, as_json: bool
) -> None:
    """Makes the configuration what the FILEs say, all at one version or not at all.

    Shows the plan and asks. When somebody else changes the configuration between the plan and the answer, nothing is
    applied.
    """
    files = _read(paths, as_json=as_json)
    wait_s = DEFAULT_WAIT_S if wait_s is None else wait_s
    with connected(address, as_json=as_json) as channel:
        stub = config_stub(channel)
        planned = stub.Plan(pb.PlanRequest(files=files, prune=prune), timeout=PLAN_TIMEOUT_S)
        if not as_json:
            _show_plan(planned)
        if planned.differences:
            _confirm("Apply this?", yes=yes)
        request = pb.ApplyRequest(
            files=files, prune=prune, expected_config_version=planned.config_version, note=note, wait_s=wait_s
        )
        # Also when there is nothing to do, in case that has changed meanwhile; it is the router that says so.
        response = stub.Apply(request, timeout=PLAN_TIMEOUT_S + wait_s)
    if as_json:
        print_message(response)
    else:
        _show_applied(response)


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--before", type=click.IntRange(min=0), default=0, help="Only changes older than this version.")
@admin_address_option
@json_option
def history(*, version: int | None, limit: int, before: int, address: str, as_json: bool) -> None:
    """Lists who changed what, newest first; with a VERSION, everything that it changed."""
    with connected(address, as_json=as_json) as channel:
        stub = config_stub(channel)
        if version is not None:
            one = stub.GetRevision(pb.GetRevisionRequest(version=version), timeout=ADMIN_TIMEOUT_S)
            if as_json:
                print_message(one)
            else:
                _show_revision(one)
            return
        request = pb.ListHistoryRequest(before_version=before, limit=limit)
        response = stub.ListHistory(request, timeout=ADMIN_TIMEOUT_S)
    if as_json:
        print_message(response)
        return
    print_table(
        f"Configuration version {response.config_version}",
        ["version", "when (UTC)", "who", "from", "action", "what"],
        [
            (entry.version, _when(entry), entry.actor, entry.origin or "-", entry.action or "-", _what(entry))
            for entry in response.revisions
        ],
        right="version",
    )


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--plan", "plan_only", is_flag=True, help="Show what it would change; change nothing.")
@YES
@NOTE
@WAIT
@admin_address_option
@json_option
def rollback(
    *, version: int, plan_only: bool, yes: bool, note: str, wait_s: float | None, address: str, as_json: bool
) -> None:
    """Puts the configuration back to what it was when VERSION had just been made, as a new change."""
    wait_s = DEFAULT_WAIT_S if wait_s is None else wait_s
    with connected(address, as_json=as_json) as channel:
        stub = config_stub(channel)
        planned = stub.Rollback(pb.RollbackRequest(version=version, plan_only=True), timeout=PLAN_TIMEOUT_S)
        if plan_only and as_json:
            print_message(planned)
            return
        if not as_json:
            _show_differences(planned.differences, planned.config_version)
        if plan_only:
            return
        if planned.differences:
            _confirm(f"Go back to version {version}?", yes=yes)
        request = pb.RollbackRequest(
            version=version, expected_config_version=planned.config_version, note=note, wait_s=wait_s
        )
        response = stub.Rollback(request, timeout=PLAN_TIMEOUT_S + wait_s)
    if as_json:
        print_message(response)
    else:
        _show_applied(response)


def _read(paths: Sequence[Path], *, as_json: bool) -> list[pb.ConfigFile]:
    """The texts of the files, and of the known ones of each directory."""
    chosen: list[Path] = []
    for path in paths:
        if not path.is_dir():
            chosen.append(path)
            continue
        inside = [path / name for name in KNOWN_FILES if (path / name).is_file()]
        if not inside:
            raise click.UsageError(f"{path} holds none of {', '.join(KNOWN_FILES)}")
        chosen += inside
    problems: list[Problem] = []
    files = []
    for path in chosen:
        text = read_text(path.parent, path.name, problems)
        files.append(pb.ConfigFile(name=str(path)[-200:], text=text or ""))
    if problems:
        show_config_error(ConfigError(problems), as_json=as_json)
        raise SystemExit(EXIT_FAILED)
    return files


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: give --yes to change the configuration; nothing was changed")
    if not click.confirm(question, err=True):
        click.echo("nothing was changed", err=True)
        raise SystemExit(EXIT_FAILED)


def _show_plan(response: pb.PlanResponse) -> None:
    _show_differences(response.differences, response.config_version)
    if response.differences:
        _show_effect(response.effect)
    for note in response.notes:
        click.echo(f"note: {note}")


def _show_differences(messages: Sequence[pb.DocumentDifference], config_version: int) -> None:
    differences = [decode_difference(message) for message in messages]
    for difference in differences:
        line = headline(difference, fields=len(difference.fields))
        if len(line) <= _LINE or difference.operation == REMOVE:
            click.echo(line)
            continue
        click.echo(title(difference))
        for field in difference.fields:
            click.echo(f"    {words(field, difference.operation)}")
    click.echo(f"{counted(differences)}; configuration version {config_version}")


def _show_effect(effect: pb.Effect) -> None:
    if not effect.requests:
        click.echo("effect: this router has decided no requests yet that could be played back")
        return
    rows = [
        (
            share.backend,
            _change(_percent(share.requests_before, effect), _percent(share.requests_after, effect)),
            _change(dollars(share.cost_usd_before), dollars(share.cost_usd_after)),
        )
        for share in effect.backends
    ]
    print_table(
        "Recent requests again",
        ["backend", "share", "cost"],
        rows,
        right="share,cost",
    )
    cost = _change(dollars(effect.cost_usd_before), dollars(effect.cost_usd_after))
    ratio = f" (x{effect.cost_usd_after / effect.cost_usd_before:.2f})" if effect.cost_usd_before > 0.0 else ""
    ttft = _change(seconds(effect.mean_ttft_s_before), seconds(effect.mean_ttft_s_after))
    met = _change(f"{effect.slo_attainment_before:.1%}", f"{effect.slo_attainment_after:.1%}")
    unserved = _change(str(effect.unserved_before), str(effect.unserved_after))
    click.echo(
        f"{effect.moved} of {effect.requests} would go elsewhere; cost {cost}{ratio}; mean TTFT {ttft}; "
        f"objectives met {met}; unserved {unserved}"
    )


def _percent(requests: int, effect: pb.Effect) -> str:
    return f"{requests / effect.requests:.1%}"


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _show_applied(response: pb.ApplyResponse | pb.RollbackResponse) -> None:
    version = response.config_version
    if not response.differences:
        click.echo(f"unchanged: the configuration is so already, at version {version}")
        return
    there, missing = len(response.acknowledged), len(response.missing)
    everybody = f"all {there} replicas run it" if there != 1 else "the one replica runs it"
    who = everybody if not missing else f"{there} of {there + missing} replicas run it"
    click.echo(f"applied: configuration version {version}; {who} after {response.waited_s:.3f} s")
    for replica in response.missing:
        click.echo(
            f"not yet: {replica.replica}, at version {replica.fleet_version}, last heard of {replica.age_s:.1f} s ago; "
            "it will follow",
            err=True,
        )


def _show_revision(response: pb.GetRevisionResponse) -> None:
    entry = response.revision
    click.echo(f"version {entry.version}, {_when(entry)} UTC, {entry.action or 'a change'} by {entry.actor}")
    if entry.origin:
        click.echo(f"from {entry.origin}")
    if entry.note:
        click.echo(f"note: {entry.note}")
    _show_differences(response.differences, entry.version)


def _when(entry: pb.Revision) -> str:
    return entry.changed_at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")


def _what(entry: pb.Revision) -> str:
    return f"{entry.summary} ({entry.note})" if entry.note else entry.summary
