"""`freehold fz draw`: a diagram as a picture."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import say
from freehold.errors import CallerError, ConfigurationError, MissingPartError

if TYPE_CHECKING:
    from freehold.flowzap import Document, Graph

PNG_SCALE = 2
PROBLEMS_SHOWN = 5


class View(enum.StrEnum):
    """What the picture shows."""

    workflow = "workflow"
    sequence = "sequence"
    architecture = "architecture"


class Colours(enum.StrEnum):
    """Which theme it is drawn in."""

    light = "light"
    dark = "dark"


class Order(enum.StrEnum):
    """In which order the sequence view tells its messages."""

    cause = "cause"
    file = "file"


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("draw")(draw)


def draw(
    file: Annotated[
        Path, typer.Argument(help="A diagram in FlowZap Code.", metavar="FILE", exists=True, dir_okay=False)
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="FILE.svg, FILE.png, or - for SVG to standard output.")] = "-",
    view: Annotated[
        View, typer.Option(help="All of it, who tells whom in which order, or who depends on whom.")
    ] = View.workflow,
    theme: Annotated[Colours, typer.Option(help="Light or dark.")] = Colours.light,
    order: Annotated[
        Order, typer.Option(help="Messages of the sequence view: by cause, or as the file has them.")
    ] = Order.cause,
) -> None:
    """Draw a diagram as SVG or PNG."""
    from freehold.flowzap import read

    suffix = Path(out).suffix.lower()
    if out != "-" and suffix not in {".svg", ".png"}:
        raise ConfigurationError(
            f"cannot draw into {out}: its name must end in .svg or .png, or be - for standard output"
        )
    document = read(file, lenient=True)
    _tell_problems(file, document)
    picture = _drawn(document.graph, view, theme, order)
    if out == "-":
        sys.stdout.write(picture)
        sys.stdout.flush()
    elif suffix == ".svg":
        _write(Path(out), picture.encode())
    else:
        _write(Path(out), _png(picture))


def _drawn(graph: Graph, view: View, theme: Colours, order: Order) -> str:
    from freehold.flowzap.order import causal_order
    from freehold.flowzap.svg.draw import TooLargeToDrawError
    from freehold.flowzap.svg.draw import draw as draw_graph

    if view == View.sequence and order == Order.cause and causal_order(graph.edges) != list(range(len(graph.edges))):
        say(
            "note: some edges stand in the file before all that leads to them; the sequence is told by cause (--order=file tells it as the file has it)"
        )
    try:
        return draw_graph(graph, view=view.value, theme=theme.value, in_file_order=order == Order.file)
    except TooLargeToDrawError as error:
        raise CallerError(str(error)) from error


def _tell_problems(file: Path, document: Document) -> None:
    """Say what of the file the picture lacks; whoever wants all of it asks `fz check`."""
    errors = [problem for problem in document.problems if problem.severity == "error"]
    if errors and not document.graph.nodes:
        raise CallerError(
            f"nothing to draw in {file}: line {errors[0].line}: {errors[0].message}; see freehold fz check {file}"
        )
    for problem in errors[:PROBLEMS_SHOWN]:
        say(f"warning: {file}:{problem.line}: {problem.message}")
    if len(errors) > PROBLEMS_SHOWN:
        say(f"warning: and {len(errors) - PROBLEMS_SHOWN} more; see freehold fz check {file}")


def _png(picture: str) -> bytes:
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        if error.name != "resvg_py":
            raise
        raise MissingPartError(
            "a PNG needs the extra freehold[png] (resvg-py); draw into a .svg file, or install it"
        ) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=picture, zoom=PNG_SCALE))


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}; choose another place with --out") from error
