"""A diagram as a picture."""

from __future__ import annotations

from typing import Literal

from freehold.flowzap.graph import Graph
from freehold.flowzap.layout.architecture import architecture
from freehold.flowzap.layout.scene import Scene
from freehold.flowzap.layout.sequence import sequence
from freehold.flowzap.layout.workflow import workflow
from freehold.flowzap.overlay import Overlay
from freehold.flowzap.svg.theme import ThemeName
from freehold.flowzap.svg.write import svg

View = Literal["workflow", "sequence", "architecture"]

NODES_MAX = 1_500
EDGES_MAX = 3_000


class TooLargeToDrawError(ValueError):
    """The diagram has more nodes or edges than a drawing can show."""


def draw(
    graph: Graph,
    *,
    view: View = "workflow",
    theme: ThemeName = "light",
    overlay: Overlay | None = None,
    in_file_order: bool = False,
) -> str:
    """Draw a diagram as SVG.

    Args:
        graph: What to draw; edges and loops name only nodes that there are.
        view: `workflow` shows all, `sequence` who tells whom in which order, `architecture` who depends on whom.
        theme: Light or dark.
        overlay: What a run of the system said of it.
        in_file_order: For the sequence view: take the edges as the file has them, not by cause.

    Returns:
        One SVG document. The same arguments give the same bytes.

    Raises:
        TooLargeToDrawError: More than 1,500 nodes or 3,000 edges.
    """
    return svg(scene_of(graph, view=view, overlay=overlay, in_file_order=in_file_order), theme)


def scene_of(
    graph: Graph, *, view: View = "workflow", overlay: Overlay | None = None, in_file_order: bool = False
) -> Scene:
    """Give the geometry of a drawing; see `draw`."""
    for count, most, what in ((len(graph.nodes), NODES_MAX, "nodes"), (len(graph.edges), EDGES_MAX, "edges")):
        if count > most:
            raise TooLargeToDrawError(
                f"the diagram has {count:,} {what}, a drawing shows at most {most:,}; split the diagram"
            )
    marks = overlay or Overlay()
    if view == "sequence":
        return sequence(graph, marks, in_file_order=in_file_order)
    return architecture(graph, marks) if view == "architecture" else workflow(graph, marks)
