"""The texts in and beside the shapes: what is written, how large, and so how large the shapes are."""

from __future__ import annotations

import dataclasses

from freehold.flowzap.graph import Edge, Node
from freehold.flowzap.layout.lettering import Text, set_text, visible, width_of
from freehold.flowzap.layout.scene import Box, Piece
from freehold.flowzap.overlay import Mark

NODE_SIZE = 13.0
EDGE_SIZE = 11.5
SMALL_SIZE = 10.5
EDGE_WIDTH_MAX = 124.0
CAPTION_LINES_MAX = 3
_GAP = 4.0
_LEAST = {"circle": (52.0, 46.0), "rectangle": (128.0, 50.0), "diamond": (120.0, 78.0), "taskbox": (156.0, 62.0)}


@dataclasses.dataclass(frozen=True, slots=True)
class Face:
    """What stands in a node, from top to bottom, and the size of its shape."""

    rows: tuple[tuple[str, Text], ...]
    width: float
    height: float
    title: str


def face_of(node: Node, mark: Mark | None) -> Face:
    """Set a node's texts and give its size.

    Returns:
        Rows of (role, text): label, description, owner, system, caption. The title is everything, unbroken.
    """
    inner = _inner_width(node)
    rows = []
    heading = node.label or (node.description if node.shape == "taskbox" else "")
    rows.append(("label", set_text(heading, NODE_SIZE, inner, lines_max=5, is_bold=node.shape == "taskbox")))
    if node.shape == "taskbox":
        if node.label:
            rows.append(("description", set_text(node.description, SMALL_SIZE + 1, inner, lines_max=4)))
        rows.append(("owner", set_text(node.owner, SMALL_SIZE, inner - 14, lines_max=1)))
        rows.append(("system", set_text(node.system, SMALL_SIZE, inner - 14, lines_max=1)))
    if mark is not None and mark.caption:
        rows.append(("caption", _caption(mark.caption, inner)))
    kept = tuple((role, text) for role, text in rows if text.lines)
    width, height = _outer(node, kept)
    details = [
        node.label,
        node.description,
        node.owner and f"owner: {node.owner}",
        node.system and f"system: {node.system}",
    ]
    return Face(
        kept, width, height, "\n".join(each for each in (*details, mark.caption if mark else "") if each) or node.id
    )


def _inner_width(node: Node) -> float:
    """Give the width of a line; a decision is narrow, but does not break a word for it."""
    if node.shape != "diamond":
        return 148.0
    words = visible(node.label).split()
    return min(150.0, max([92.0, *(width_of(word, NODE_SIZE) + 1 for word in words)]))


def _outer(node: Node, rows: tuple[tuple[str, Text], ...]) -> tuple[float, float]:
    least_width, least_height = _LEAST[node.shape]
    text_width = max((text.width for _, text in rows), default=0.0)
    text_height = sum(text.height for _, text in rows) + _GAP * max(0, len(rows) - 1)
    if node.shape == "diamond":
        # A rectangle of text fits a diamond where width / outer width + height / outer height is 1.
        width = max(least_width, text_width + text_height * 1.5 + 22)
        return width, max(least_height, text_height / (1 - (text_width + 6) / width) + 4)
    if node.shape == "circle":
        height = max(least_height, text_height + 26)
        return max(least_width, height, text_width + 36), height
    if node.shape == "taskbox":
        return max(least_width, text_width + 40), max(least_height, text_height + 22)
    return max(least_width, text_width + 26), max(least_height, text_height + 24)


def pieces_of(face: Face, box: Box) -> tuple[Piece, ...]:
    """Place a node's texts in its box."""
    total = sum(text.height for _, text in face.rows) + _GAP * max(0, len(face.rows) - 1)
    y = box.y + (box.height - total) / 2
    is_list = any(role in {"owner", "system", "description"} for role, _ in face.rows)
    placed = []
    for role, text in face.rows:
        left = box.x + 18 + (15 if role in {"owner", "system"} else 0)
        x = left if is_list else box.x + (box.width - text.width) / 2
        placed.append(Piece(text, Box(x, y, text.width, text.height), "start" if is_list else "middle", role))
        y += text.height + _GAP
    return tuple(placed)


@dataclasses.dataclass(frozen=True, slots=True)
class EdgeFace:
    """What stands beside an edge: its label and, under an overlay, what was seen of it."""

    rows: tuple[tuple[str, Text], ...]
    title: str

    @property
    def width(self) -> float:
        """Give the greatest width."""
        return max((text.width for _, text in self.rows), default=0.0)

    @property
    def height(self) -> float:
        """Give the height of all."""
        return sum(text.height for _, text in self.rows)

    def pieces(self, box: Box) -> tuple[Piece, ...]:
        """Place the texts in the room that was found."""
        placed, y = [], box.y
        for role, text in self.rows:
            placed.append(
                Piece(text, Box(box.x + (box.width - text.width) / 2, y, text.width, text.height), "middle", role)
            )
            y += text.height
        return tuple(placed)


def edge_face_of(
    edge: Edge, ends: tuple[str, str], mark: Mark | None, *, width_max: float = EDGE_WIDTH_MAX
) -> EdgeFace:
    """Set an edge's texts; `ends` are the labels of its nodes, for the title."""
    return wire_face_of(edge.label, f"{ends[0]} → {ends[1]}", mark, width_max=width_max)


def wire_face_of(label: str, title: str, mark: Mark | None, *, width_max: float = EDGE_WIDTH_MAX) -> EdgeFace:
    """Set the texts of a wire between any two things."""
    rows = [("label", set_text(label, EDGE_SIZE, width_max, lines_max=5))]
    if mark is not None:
        rows.append(("caption", _caption(mark.caption, width_max)))
    whole = "\n".join(each for each in (label, title, mark.caption if mark else "") if each)
    return EdgeFace(tuple((role, text) for role, text in rows if text.lines), whole)


def _caption(caption: str, width_max: float) -> Text:
    """Set what was seen; its parts, told apart by commas, stay whole if they can."""
    lines: list[str] = []
    for part in visible(caption).split(", "):
        if lines and width_of(f"{lines[-1]}, {part}", SMALL_SIZE) <= width_max:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    widest = max(width_of(line, SMALL_SIZE) for line in lines)
    if not caption or widest > width_max or len(lines) > CAPTION_LINES_MAX:
        return set_text(caption, SMALL_SIZE, width_max, lines_max=CAPTION_LINES_MAX)
    return Text(tuple(lines), SMALL_SIZE, widest)
