"""What a drawing consists of, as geometry: the layouts make it, the SVG is written from it, tests measure it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from freehold.flowzap.graph import Shape, Side
from freehold.flowzap.layout.lettering import Text

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
State = Literal["plain", "seen", "unseen", "undeclared"]


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Give the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Give the lower edge."""
        return self.y + self.height

    @property
    def centre(self) -> Point:
        """Give the middle."""
        return (self.x + self.width / 2, self.y + self.height / 2)

    def meets(self, other: Box, gap: float = 0.0) -> bool:
        """Tell whether the two share room, or come closer than `gap`."""
        return (
            self.x < other.right + gap
            and other.x < self.right + gap
            and self.y < other.bottom + gap
            and other.y < self.bottom + gap
        )

    def grown(self, by: float) -> Box:
        """Give the box with a margin."""
        return Box(self.x - by, self.y - by, self.width + 2 * by, self.height + 2 * by)


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A text with its place: `box` is the room of all its lines."""

    text: Text
    box: Box
    anchor: Anchor = "middle"
    role: str = "label"


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A node, component or participant: an outline with texts in it."""

    id: str
    shape: Shape | Literal["component", "participant", "note", "decision"]
    box: Box
    title: str
    pieces: tuple[Piece, ...]
    lane: int = 0
    state: State = "plain"


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A wire or message: corners from tail to head, the label beside it."""

    id: str
    points: tuple[Point, ...]
    title: str
    source: str
    target: str
    labels: tuple[Piece, ...] = ()
    state: State = "plain"
    is_dashed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Band:
    """A lane: its whole row (or lifeline) and the header that names it."""

    id: str
    box: Box
    header: Box
    title: str
    name: Piece
    lane: int


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A loop around its members; one loop may need several, the first says the condition."""

    boxes: tuple[Box, ...]
    title: str
    label: Piece | None
    has_sign: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A whole picture."""

    view: str
    width: float
    height: float
    bands: tuple[Band, ...] = ()
    figures: tuple[Figure, ...] = ()
    lines: tuple[Line, ...] = ()
    frames: tuple[Frame, ...] = ()
    bars: tuple[tuple[int, Box], ...] = ()
    notes: tuple[Piece, ...] = ()


OPPOSITE: dict[Side, Side] = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
