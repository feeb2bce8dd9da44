"""Draw the pictures of docs/diagrams anew: `python docs/pictures.py`; `make test` fails when one is stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from freehold.flowzap import parse
from freehold.flowzap.overlay import Mark, Overlay, Undeclared
from freehold.flowzap.svg.draw import View, draw

DIAGRAMS = Path(__file__).parent / "diagrams"
OTHER_VIEWS: dict[str, tuple[View, ...]] = {
    "backend-for-frontend": ("sequence", "architecture"),
    "support-ticket": ("sequence",),
    "choreography": ("sequence", "architecture"),
}


def pictures() -> Iterator[tuple[Path, str]]:
    """Give each committed picture's place and what it must be."""
    for path in sorted(DIAGRAMS.glob("*.fz")):
        graph = parse(path.read_text()).graph
        yield path.with_suffix(".svg"), draw(graph)
        for view in OTHER_VIEWS.get(path.stem, ()):
            yield path.with_suffix(f".{view}.svg"), draw(graph, view=view)
    graph = parse((DIAGRAMS / "order-flow.fz").read_text()).graph
    yield DIAGRAMS / "order-flow.dark.svg", draw(graph, theme="dark")
    yield DIAGRAMS / "order-flow.result.svg", draw(graph, overlay=_result())


def _result() -> Overlay:
    """Make up what a run could have said of the order flow: nothing was out of stock, and somebody took a short cut."""
    unseen_nodes, unseen_edges = {"n6"}, {3, 7}
    return Overlay(
        nodes={f"n{number}": Mark("unseen" if f"n{number}" in unseen_nodes else "seen") for number in range(1, 11)},
        edges={
            place: Mark("unseen", "never seen")
            if place in unseen_edges
            else Mark("seen", f"{1200 - 7 * place} seen, p50 {3 + place} ms, p99 {11 + 4 * place} ms")
            for place in range(10)
        },
        undeclared=(Undeclared("Customer", "Warehouse", "GET /parcels, 3 seen"),),
    )


def main() -> None:
    """Write every picture."""
    for path, picture in pictures():
        path.write_text(picture)


if __name__ == "__main__":
    main()
