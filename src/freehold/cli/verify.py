"""`freehold verify`: hold a diagram against what the system does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, SYSTEM, absolute_target, here, print_json, say

if TYPE_CHECKING:
    from freehold.conform.verdict import Verdict
    from freehold.flowzap import Graph

FORMATS = {".html", ".svg"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", rich_help_panel="A system")(verify)


def verify(
    system: SYSTEM,
    diagram: Annotated[
        Path | None, typer.Option(help="A diagram in FlowZap Code; the system's own unless given.", metavar="FILE")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Watch real traffic for so long; nothing is started.", min=0.01)
    ] = None,
    port: Annotated[int, typer.Option(help="With --minutes: where to listen for OTLP over HTTP.")] = 4318,
    out: Annotated[
        Path | None, typer.Option(help="Write the drawing with the result on it, .svg, or the whole report, .html.")
    ] = None,
    json: JSON = False,
) -> None:
    """Hold a diagram against what the system does, as its own traces tell.

    The system is started on data of its own, beside whatever is up here, its scenarios are driven, and it is stopped
    again. Exit code 0 only if every node and edge was seen, and nothing that the diagram does not allow.
    """
    from freehold.cli.verdict import print_verdict
    from freehold.conform.binding import bind
    from freehold.conform.drive import drive, watch
    from freehold.conform.judge import judge
    from freehold.runtime.load import load_system

    if out is not None and out.suffix not in FORMATS:
        raise typer.BadParameter(f"{out} ends in none of {', '.join(sorted(FORMATS))}", param_hint="--out")
    # Whoever ends us must not leave a system running.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    loaded = load_system(system)
    file = _file(diagram, loaded.diagram, loaded.name)
    graph = _read(file)
    if minutes is None:
        observed = drive(loaded, absolute_target(system), say)
    else:
        observed = watch(loaded, here(), minutes, say, port=port)
    is_own = diagram is None or (loaded.diagram is not None and diagram.resolve() == loaded.diagram.resolve())
    verdict = judge(
        observed.spans,
        bind(graph, observed.landscape, loaded.bindings, is_own=is_own),
        observed.landscape,
        system=loaded.name,
        diagram=file.name,
        scenarios=observed.outcomes,
    )
    if out is not None:
        _write(out, verdict, graph)
    if json:
        print_json(verdict)
    else:
        print_verdict(verdict)
    if not verdict.holds:
        raise typer.Exit(1)


def _file(given: Path | None, own: Path | None, system: str) -> Path:
    from freehold.errors import ConfigurationError

    file = given or own
    if file is None:
        raise ConfigurationError(f"{system} names no diagram; give one: --diagram FILE, or System(..., diagram=...)")
    if not file.is_file():
        raise ConfigurationError(f"there is no diagram {file}")
    return file


def _read(file: Path) -> Graph:
    from freehold.conform.static import errors_of
    from freehold.errors import ConfigurationError
    from freehold.flowzap import read

    document = read(file, lenient=True)
    errors = errors_of(document, file)
    if errors:
        more = f"\nand {len(errors) - 1} more; see: freehold fz check {file}" if len(errors) > 1 else ""
        raise ConfigurationError(f"the diagram cannot be read: {errors[0]}{more}")
    return document.graph


def _write(out: Path, verdict: Verdict, graph: Graph) -> None:
    from freehold.conform.report import draw_verdict, write_html

    text = write_html(verdict, graph) if out.suffix == ".html" else draw_verdict(verdict, graph)
    out.write_text(text, encoding="utf-8")
    say(f"wrote {out}")
