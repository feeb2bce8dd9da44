"""`freehold audit`: compare copies with their owners, and repair what differs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freehold.cli.output import JSON, console, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.converge.audit import Outcome, Progress
    from freehold.converge.judge import Finding
    from freehold.service import System

Show = Callable[[str, "Progress"], None]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit", rich_help_panel="A system")(audit)


def audit(
    replica: Annotated[
        str | None,
        typer.Argument(help="The replica, such as orders.customers or customers; all that are up unless given."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Let the owners tell once more what differs.")] = False,
    json: JSON = False,
) -> None:
    """Compare copies with their owners; exit code 1 if any differs and was not repaired, or could not be judged.

    Neither side is stopped, and what is on its way is not taken for a difference. With --json one object for each
    replica, each on a line.
    """
    from freehold.cli.reach import reach
    from freehold.errors import FreeholdError

    reached = reach()
    code = 0
    with _progress() as show:
        for service, into in choose(reached.system, list(reached.urls), replica):
            try:
                findings, outcome = _run(reached, service, into, repair=repair, show=show)
            except FreeholdError as error:
                _print_failure(f"{service}.{into}", str(error), json=json)
                code = 1
                continue
            _print(f"{service}.{into}", findings, outcome, json=json)
            if outcome.differing > outcome.repaired or outcome.behind:
                code = 1
    raise typer.Exit(code)


def choose(system: System, up: list[str], wanted: str | None) -> list[tuple[str, str]]:
    """Give (service, replica) of those that are meant.

    Raises:
        ConfigurationError: There is no such replica; lists those there are.
    """
    from freehold.errors import ConfigurationError

    there = [(service.name, replica.into) for service in system.services for replica in service.replicates]
    if wanted is None:
        return [each for each in there if each[0] in up]
    found = [(service, into) for service, into in there if wanted in {into, f"{service}.{into}"}]
    if not found:
        names = ", ".join(f"{service}.{into}" for service, into in there) or "none"
        raise ConfigurationError(f"{system.name} has no replica {wanted!r}; there is: {names}")
    return found


def _run(reached: Reached, service: str, into: str, *, repair: bool, show: Show) -> tuple[list[Finding], Outcome]:
    from freehold.converge.audit_route import PATH, AuditAsked, Line
    from freehold.errors import PeerError

    findings: list[Finding] = []
    for line in reached.peer(service).lines(PATH, AuditAsked(into, repair), Line):
        if line.progress is not None:
            show(f"{service}.{into}", line.progress)
        if line.finding is not None:
            findings.append(line.finding)
        if line.outcome is not None:
            return findings, line.outcome
    raise PeerError(f"{service} broke off the audit of {into}; run it again")


def _print(name: str, findings: list[Finding], outcome: Outcome, *, json: bool) -> None:
    if json:
        import msgspec

        fields = {"replica": name} | msgspec.structs.asdict(outcome) | {"differing": list(map(_as_json, findings))}
        typer.echo(msgspec.json.encode(fields))
        return
    equal = "all equal" if not findings else f"{len(findings):,} differ, {outcome.repaired:,} of them repaired"
    typer.echo(f"{name}: {outcome.rows:,} rows in {outcome.seconds:.1f} s, {equal}")
    for finding in findings:
        typer.echo(f"  {_words(finding)}")
    if outcome.unsettled:
        typer.echo(f"  {outcome.unsettled:,} changed whenever they were looked at; nothing speaks against them")
    if outcome.behind:
        typer.echo(f"  {outcome.behind:,} could not be judged: {outcome.reason}")


def _print_failure(name: str, reason: str, *, json: bool) -> None:
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"replica": name, "rows": 0, "differing": [], "seconds": 0, "error": reason}))
    say(f"freehold: {name}: {reason}")


def _as_json(finding: Finding) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(finding)


def _words(finding: Finding) -> str:
    versions = f"owner {_version(finding.owner_version)}, copy {_version(finding.copy_version)}"
    where = (
        f"{finding.where} {finding.document} of {finding.id}" if finding.document else f"{finding.where} {finding.id}"
    )
    at = f", at {finding.position}" if finding.position else ""
    became = "; repaired" if finding.repaired else f"; not repaired: {finding.refused}" if finding.refused else ""
    return f"{where}: {finding.kind} ({versions}{at}){became}"


def _version(version: int | None) -> str:
    return "has none" if version is None else f"at {version}"


@contextlib.contextmanager
def _progress() -> Iterator[Show]:
    """Show a bar on a terminal, and nothing where nobody looks."""
    shown_on = console(on_stderr=True)
    if not shown_on.is_terminal:
        yield lambda _name, _progress: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=shown_on, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, progress: Progress) -> None:
            key = f"{name}: {progress.stage}"
            if key not in tasks:
                tasks[key] = bars.add_task(key, total=None)
            bars.update(tasks[key], completed=progress.done, total=progress.total or None)

        yield show
