"""The diagrams that every test of drawing looks at."""

import itertools
from pathlib import Path

from freehold.flowzap import Edge, Graph, Lane, Node, parse
from freehold.flowzap.graph import Side
from freehold.flowzap.svg.draw import View

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "docs" / "diagrams").glob("*.fz")), ROOT / "systems" / "database_per_service" / "system.fz"]
SEED = ROOT.parent / "shared" / "seed" / "database-per-service.fz"
VIEWS: tuple[View, ...] = ("workflow", "sequence", "architecture")


def graph_in(path: Path) -> Graph:
    return parse(path.read_text()).graph


def edge(source: str, target: str, sides: tuple[Side, Side] = ("right", "left"), label: str = "") -> Edge:
    return Edge(source, target, label, *sides)


def chain(*labels: str) -> Graph:
    """One lane, one step after the other."""
    nodes = tuple(Node(f"n{place}", label, "rectangle", "L") for place, label in enumerate(labels, 1))
    edges = tuple(edge(one.id, other.id) for one, other in itertools.pairwise(nodes))
    return Graph((Lane("L", "Lane"),), nodes, edges)
