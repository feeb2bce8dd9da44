"""In which order edges are gone through: by cause where the file leaves it open.

The language draws sequences in the order of the file, and has each edge in its source's lane: both cannot hold for a way
there and back. So an edge comes when one that leads to its source has come, or when none does; of those the first in the
file, and where all wait for one another the first in the file too. Files that are in this order already keep theirs.
"""

from __future__ import annotations

import collections
import heapq
from collections.abc import Sequence

from freehold.flowzap.graph import Edge


def causal_order(edges: Sequence[Edge]) -> list[int]:
    """Give the places of the edges in the order of cause.

    Args:
        edges: All edges, in the order of the file.

    Returns:
        Each place of `edges` once.
    """
    leaving: dict[str, list[int]] = collections.defaultdict(list)
    for place, edge in enumerate(edges):
        leaving[edge.source].append(place)
    entered = {edge.target for edge in edges}
    ready = [place for place, edge in enumerate(edges) if edge.source not in entered]
    reached: set[str] = set()
    order: list[int] = []
    is_out = [False] * len(edges)
    first = 0
    while len(order) < len(edges):
        while first < len(edges) and is_out[first]:
            first += 1
        place = heapq.heappop(ready) if ready else first
        if is_out[place]:
            continue
        is_out[place] = True
        order.append(place)
        target = edges[place].target
        if target not in reached:
            reached.add(target)
            for following in leaving[target]:
                if not is_out[following]:
                    heapq.heappush(ready, following)
    return order
