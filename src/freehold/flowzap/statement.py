"""What a line says, as it was written: values with the columns that they stand at."""

from __future__ import annotations

import dataclasses

SHAPES = ("circle", "rectangle", "diamond", "taskbox")
SIDES = ("left", "right", "top", "bottom")
KEYS = ("label", "owner", "description", "system")


@dataclasses.dataclass(frozen=True, slots=True)
class Word:
    """A piece of a line; columns count from 0 and `end` is behind it."""

    text: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class LaneOpen:
    """`Users { # Users`. The name is None where there is no `#`."""

    line: int
    id: Word
    name: str | None
    end: int
    is_valid: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class LaneName:
    """`# Users` on a line of its own."""

    line: int
    name: Word


@dataclasses.dataclass(frozen=True, slots=True)
class LaneClose:
    """`}`."""

    line: int
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class NodeLine:
    """`n1: circle label:"Start"`. `shape` is the nearest of the four where the file has none of them."""

    line: int
    id: Word
    shape: str
    attributes: dict[str, str]
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """One end of an edge: `Users.n4.handle(left)`."""

    lane: Word | None
    id: Word
    side: str


@dataclasses.dataclass(frozen=True, slots=True)
class EdgeLine:
    """`n1.handle(right) -> n2.handle(left) [label="Yes"]`."""

    line: int
    source: End
    target: End
    label: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class LoopLine:
    """`loop [not paid] n1 n2`. An odd one has problems already; one that opens goes on in further lines."""

    line: int
    condition: str
    members: tuple[Word, ...]
    start: int
    end: int
    is_odd: bool = False
    opens: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class LoopRest:
    """`n1 n2`: what is left of a loop that was broken over lines."""

    line: int
    members: tuple[Word, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Comment:
    """`// what people say to one another`."""

    line: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Unknown:
    """What is no statement; a problem was found there. `ids` are the node ids that it mentions."""

    line: int
    ids: tuple[str, ...] = ()


Statement = LaneOpen | LaneName | LaneClose | NodeLine | EdgeLine | LoopLine | LoopRest | Comment | Unknown
