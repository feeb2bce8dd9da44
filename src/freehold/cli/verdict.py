"""A verdict as a person reads it on a terminal, or a program line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from freehold.cli.output import console

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from freehold.conform.verdict import Sight, Verdict

    # What was seen of it, its name, what it was taken for, and the trace of an example.
    Row = tuple[Sight, str, str, str]


def print_verdict(verdict: Verdict) -> None:
    """Print tables on a terminal and a line each in a pipe, then what is wrong, the loudest next to the last line."""
    from rich.text import Text

    out = console()
    if out.is_terminal:
        out.print(_table("node", _nodes(verdict)), _table("edge", _edges(verdict)), sep="\n\n", end="\n\n")
        for sight, name, *_ in (*_nodes(verdict), *_edges(verdict)):
            if not sight.seen:
                out.print(Text.assemble(("never seen ", "bold yellow"), name))
    else:
        # One line each, for grep and for a log.
        for sight, *words in (*_nodes(verdict), *_edges(verdict)):
            typer.echo("\t".join((*_cells(sight), *words)))
    for said, style, rest in (*_asides(verdict), *_undeclared(verdict)):
        out.print(Text.assemble((said, style), f" {rest}"), soft_wrap=True)
    out.print(Text(verdict.summary(), "bold green" if verdict.holds else "bold red"))


def _undeclared(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    """Give the loudest last, where a person looks first."""
    for found in reversed(verdict.undeclared):
        yield "UNDECLARED", "bold white on red" if found.resource == "store" else "bold red", found.line()


def _asides(verdict: Verdict) -> Iterator[tuple[str, str, str]]:
    for loop in verdict.loops:
        rounds = f"{loop.rounds} rounds in {loop.count} traces, at most {loop.rounds_max}"
        yield "loop", "bold", f"[{loop.condition}]: {rounds}"
    for problem in verdict.problems:
        yield "not bound:", "yellow", problem
    for deviation in verdict.deviations:
        yield "out of order:", "yellow", f"{deviation.what} ({deviation.count}x, trace {deviation.trace})"
    for scenario in verdict.scenarios:
        if scenario.problem:
            yield "scenario failed:", "yellow", f"{scenario.name} {scenario.problem}"


def _table(kind: str, rows: Iterable[Row]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("", "times", "p50", "p99", kind, "taken for", "an example's trace"):
        table.add_column(column, overflow="fold")
    for sight, *words in rows:
        table.add_row(*(Text(each, "" if sight.seen else "bold yellow") for each in (*_cells(sight), *words)))
    return table


def _nodes(verdict: Verdict) -> Iterator[Row]:
    for node in verdict.nodes:
        yield node, f"{node.lane} / {node.label or node.id}", node.bound_to, node.trace or ""


def _edges(verdict: Verdict) -> Iterator[Row]:
    labels = {node.id: node.label or node.id for node in verdict.nodes}
    for edge in verdict.edges:
        said = f" [{edge.label}]" if edge.label else ""
        name = f"{labels[edge.source]} -> {labels[edge.target]}{said}"
        yield edge, name, "a branch" if edge.is_branch else "", edge.trace or ""


def _cells(sight: Sight) -> tuple[str, str, str, str]:
    return "seen" if sight.seen else "NEVER", f"{sight.count}x", _ms(sight.p50_ms), _ms(sight.p99_ms)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"
