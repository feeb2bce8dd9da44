"""`freehold audit`: compare copies with their owners, and repair what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, Show, bars, interruptible, print_json_line, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.converge.audit import Outcome
    from freehold.converge.judge import Finding
    from freehold.service import System


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
    chosen = choose(reached.system, list(reached.urls), replica)
    with interruptible("no copy is left half repaired; run it again for the rest"):
        for service, into in chosen:
            try:
                # What is printed while a bar is shown would go where the bar goes: to stderr.
                with bars() as show:
                    findings, outcome = _run(reached, service, into, repair=repair, show=show)
            except FreeholdError as error:
                _print_failure(f"{service}.{into}", str(error), json=json)
                code = 1
                continue
            _print(f"{service}.{into}", findings, outcome, repair=repair, json=json)
            if outcome.differing > outcome.repaired or outcome.behind:
                code = 1
    raise typer.Exit(code)


def choose(system: System, up: list[str], wanted: str | None) -> list[tuple[str, str]]:
    """Give (service, replica) of those that are meant.

    Raises:
        ConfigurationError: There is no such replica, or none in what is up; lists those there are.
    """
    from freehold.errors import ConfigurationError

    there = [(service.name, replica.into) for service in system.services for replica in service.replicates]
    names = ", ".join(f"{service}.{into}" for service, into in there) or "none"
    if wanted is None:
        found = [each for each in there if each[0] in up]
        if not found:
            raise ConfigurationError(f"there is no replica to compare in what is up; {system.name} has: {names}")
        return found
    found = [(service, into) for service, into in there if wanted in {into, f"{service}.{into}"}]
    if not found:
        raise ConfigurationError(f"{system.name} has no replica {wanted!r}; there is: {names}")
    return found


def _run(reached: Reached, service: str, into: str, *, repair: bool, show: Show) -> tuple[list[Finding], Outcome]:
    from freehold.converge.audit_route import PATH, AuditAsked, Line
    from freehold.errors import PeerError

    findings: list[Finding] = []
    for line in reached.peer(service).lines(PATH, AuditAsked(into, repair), Line):
        if line.progress is not None:
            show(f"{service}.{into}: {line.progress.stage}", line.progress.done, line.progress.total)
        if line.finding is not None:
            findings.append(line.finding)
        if line.outcome is not None:
            return findings, line.outcome
    raise PeerError(f"{service} broke off the audit of {into}; run it again")


def _print(name: str, findings: list[Finding], outcome: Outcome, *, repair: bool, json: bool) -> None:
    if json:
        import msgspec

        differing = [msgspec.structs.asdict(finding) for finding in findings]
        print_json_line({"replica": name} | msgspec.structs.asdict(outcome) | {"differing": differing})
        return
    differ = f"{len(findings):,} differ{f', {outcome.repaired:,} of them repaired' if repair else ''}"
    typer.echo(f"{name}: {outcome.rows:,} rows in {outcome.seconds:.1f} s, {differ if findings else 'all equal'}")
    for finding in findings:
        typer.echo(f"  {_words(finding)}")
    if outcome.unsettled:
        typer.echo(f"  {outcome.unsettled:,} changed whenever they were looked at; nothing speaks against them")
    if outcome.behind:
        typer.echo(f"  {outcome.behind:,} could not be judged: {outcome.reason}")
    if findings and not repair:
        say(f"repair exactly these: freehold audit {name} --repair")


def _print_failure(name: str, reason: str, *, json: bool) -> None:
    if json:
        print_json_line({"replica": name, "rows": 0, "differing": [], "seconds": 0.0, "error": reason})
    say(f"freehold: {name}: {reason}")


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
