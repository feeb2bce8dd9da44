"""SVG elements as text: every attribute and every text goes through here, escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from freehold.flowzap.layout.lettering import LINE_RATIO
from freehold.flowzap.layout.scene import Piece, Point

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
# Controls, halves of pairs, what is no character, and what would turn the text around it.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 17))
    + "]"
)


def escaped(text: str) -> str:
    """Make a text harmless in element and attribute alike; what XML forbids is left out."""
    return _FORBIDDEN.sub("", text).translate(_ESCAPES)


def number(value: float) -> str:
    """Write a coordinate: two places at most, no `-0`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def element(name: str, attributes: Mapping[str, object], content: str = "") -> str:
    """Write one element; an empty attribute is left out."""
    written = "".join(
        f' {key}="{number(value) if isinstance(value, (int, float)) else escaped(str(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def title(text: str) -> str:
    """Write what a pointer shows and a screen reader says."""
    return f"<title>{escaped(text)}</title>"


def text_of(piece: Piece, fill: str, attributes: Mapping[str, object] | None = None) -> str:
    """Write the lines of a text, each at its own place."""
    box, size = piece.box, piece.text.size
    x = {"start": box.x, "middle": box.x + box.width / 2, "end": box.right}[piece.anchor]
    spans = []
    for place, line in enumerate(piece.text.lines):
        baseline = box.y + size * LINE_RATIO * (place + 0.5) + size * 0.35
        spans.append(element("tspan", {"x": x, "y": baseline}, escaped(line)))
    weight = "600" if piece.text.is_bold else ""
    anchor = "" if piece.anchor == "start" else piece.anchor
    written = {"font-size": size, "font-weight": weight, "text-anchor": anchor, "fill": fill, **(attributes or {})}
    # A blank between lines, so that a selection copied from there keeps words apart.
    return element("text", written, " ".join(spans))


def rounded(points: Sequence[Point], radius: float) -> str:
    """Write a path through the corners, each rounded as far as its sides allow."""
    kept = _without_repeats(points)
    parts = [f"M{number(kept[0][0])} {number(kept[0][1])}"]
    for before, here, after in zip(kept, kept[1:], kept[2:], strict=False):
        reach = min(radius, _length(before, here) / 2, _length(here, after) / 2)
        start, end = _towards(here, before, reach), _towards(here, after, reach)
        parts.append(
            f"L{number(start[0])} {number(start[1])}Q{number(here[0])} {number(here[1])} {number(end[0])} {number(end[1])}"
        )
    parts.append(f"L{number(kept[-1][0])} {number(kept[-1][1])}")
    return "".join(parts)


def arrow_head(points: Sequence[Point], length: float, half: float) -> str:
    """Write a closed arrow head at the end of the way."""
    kept = _without_repeats(points)
    tip, tail = kept[-1], kept[-2] if len(kept) > 1 else (kept[-1][0] - 1, kept[-1][1])
    back = _towards(tip, tail, length)
    span = _length(tip, back) or 1.0
    across = ((tip[1] - back[1]) / span * half, (back[0] - tip[0]) / span * half)
    notch = _towards(tip, tail, length * 0.78)
    corners = [tip, (back[0] + across[0], back[1] + across[1]), notch, (back[0] - across[0], back[1] - across[1])]
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in corners) + "Z"


def shortened(points: Sequence[Point], by: float) -> tuple[Point, ...]:
    """Take a little off the end, where the arrow head begins."""
    kept = _without_repeats(points)
    if len(kept) < 2:
        return tuple(points)
    return (*kept[:-1], _towards(kept[-1], kept[-2], min(by, _length(kept[-1], kept[-2]) * 0.8)))


def joined(parts: Iterable[str]) -> str:
    """Put elements on lines of their own."""
    return "\n".join(part for part in parts if part)


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    kept = [points[0]]
    for point in points[1:]:
        if _length(kept[-1], point) > 0.01:
            kept.append(point)
    return kept if len(kept) > 1 else [points[0], points[-1]]


def _length(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(start: Point, end: Point, by: float) -> Point:
    span = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    if span == 0:
        return start
    return (start[0] + (end[0] - start[0]) / span * by, start[1] + (end[1] - start[1]) / span * by)
