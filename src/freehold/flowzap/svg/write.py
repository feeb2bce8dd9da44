"""A scene as one SVG document: no script, no style sheet, no outside reference, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping

from freehold.flowzap.layout.scene import Band, Box, Figure, Frame, Line, Piece, Scene
from freehold.flowzap.svg.markup import arrow_head, element, joined, number, rounded, shortened, text_of, title
from freehold.flowzap.svg.theme import FONT, THEMES, Theme, ThemeName

CORNER = 7.0
ARROW_LENGTH = 9.0
ARROW_HALF = 4.0


def svg(scene: Scene, theme_name: ThemeName, *, heading: str = "") -> str:
    """Write a scene."""
    theme = THEMES[theme_name]
    width, height = round(scene.width + 0.499), round(scene.height + 0.499)
    parts = [
        element("rect", {"width": width, "height": height, "fill": theme.page}),
        *(_band(band, scene, theme) for band in scene.bands),
        *(_bar(lane, box, theme) for lane, box in scene.bars),
        *(_frame(frame, theme) for frame in scene.frames),
        *(_line(line, theme) for line in scene.lines),
        *(_figure(figure, theme) for figure in scene.figures),
        *(_frame_label(frame, theme) for frame in scene.frames),
        *(_line_labels(line, theme) for line in scene.lines),
        *(text_of(note, theme.soft_ink) for note in scene.notes),
    ]
    opening = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {width} {height}",
        "width": width,
        "height": height,
        "role": "img",
        # No title: it would show up wherever the pointer rests.
        "aria-label": heading or f"{scene.view} view",
        "font-family": FONT,
    }
    return element("svg", opening, "\n" + joined(parts) + "\n") + "\n"


def _band(band: Band, scene: Scene, theme: Theme) -> str:
    if scene.view == "sequence":
        return _lifeline(band, theme)
    box, header = band.box, band.header
    parts = [
        title(band.title),
        _rect(box, {"fill": theme.tint(band.lane, theme.band_share), "stroke": theme.border}),
        _rect(header, {"fill": theme.tint(band.lane, theme.header_share), "stroke": theme.border}),
        _rect(Box(header.x, header.y, 4, header.height), {"fill": theme.hue(band.lane)}),
        text_of(band.name, theme.ink),
    ]
    return element("g", {"class": "lane", "data-lane": band.id}, "".join(parts))


def _lifeline(band: Band, theme: Theme) -> str:
    x = band.box.centre[0]
    colour = theme.tint(band.lane, 0.45)
    line = {"x1": x, "y1": band.box.y, "x2": x, "y2": band.box.bottom, "stroke": colour, "stroke-dasharray": "5 5"}
    return element("g", {"class": "lifeline", "data-lane": band.id}, title(band.title) + element("line", line))


def _bar(lane: int, box: Box, theme: Theme) -> str:
    fill, stroke = theme.tint(lane, 0.22), theme.tint(lane, theme.outline_share)
    return _rect(box, {"rx": 2, "fill": fill, "stroke": stroke, "stroke-width": 1})


def _frame(frame: Frame, theme: Theme) -> str:
    stroke = {
        "rx": 10,
        "fill": theme.soft_ink,
        "fill-opacity": 0.045,
        "stroke": theme.soft_ink,
        "stroke-dasharray": "6 4",
        "stroke-width": 1.1,
    }
    return element("g", {"class": "loop"}, title(frame.title) + "".join(_rect(box, stroke) for box in frame.boxes))


def _frame_label(frame: Frame, theme: Theme) -> str:
    if frame.label is None:
        return ""
    sign = ""
    if frame.has_sign:
        x, y = frame.label.box.x - 10.5, frame.label.box.y + frame.label.box.height / 2
        way = f"M{number(x + 3.6)} {number(y - 2.6)}A4.4 4.4 0 1 0 {number(x + 4.4)} {number(y + 0.6)}"
        head = f"M{number(x + 1)} {number(y - 1.9)}L{number(x + 5.6)} {number(y - 0.9)}L{number(x + 4.9)} {number(y - 5.4)}Z"
        sign = element("path", {"d": way, "fill": "none", "stroke": theme.soft_ink, "stroke-width": 1.3})
        sign += element("path", {"d": head, "fill": theme.soft_ink})
    return sign + text_of(frame.label, theme.soft_ink)


def _line(line: Line, theme: Theme) -> str:
    colour = {"plain": theme.wire, "seen": theme.seen, "unseen": theme.unseen, "undeclared": theme.undeclared}[
        line.state
    ]
    dashes = "5 4" if line.state == "unseen" or line.is_dashed else ""
    width = {"plain": 1.4, "seen": 1.9, "unseen": 1.3, "undeclared": 2.2}[line.state]
    path = {
        "d": rounded(shortened(line.points, ARROW_LENGTH * 0.7), CORNER),
        "fill": "none",
        "stroke": colour,
        "stroke-width": width,
        "stroke-dasharray": dashes,
    }
    head = {"d": arrow_head(line.points, ARROW_LENGTH, ARROW_HALF), "fill": colour}
    # A wider, unseen stroke that a pointer can meet.
    target = {
        "d": rounded(line.points, CORNER),
        "fill": "none",
        "stroke": theme.page,
        "stroke-width": 10,
        "stroke-opacity": 0,
    }
    marks = {"class": "edge", "data-edge": line.id, "data-source": line.source, "data-target": line.target}
    return element(
        "g", marks, title(line.title) + element("path", target) + element("path", path) + element("path", head)
    )


def _line_labels(line: Line, theme: Theme) -> str:
    if not line.labels:
        return ""
    written = "".join(text_of(piece, _piece_colour(piece, line.state, theme)) for piece in line.labels)
    return element("g", {"class": "edge-label", "data-edge": line.id}, title(line.title) + written)


def _piece_colour(piece: Piece, state: str, theme: Theme) -> str:
    if piece.role == "caption":
        return {"seen": theme.seen, "undeclared": theme.undeclared}.get(state, theme.soft_ink)
    if piece.role in {"owner", "system", "description", "target"}:
        return theme.soft_ink
    return theme.soft_ink if state == "unseen" else theme.ink


def _figure(figure: Figure, theme: Theme) -> str:
    outline = {"fill": theme.node, "stroke": theme.tint(figure.lane, theme.outline_share), "stroke-width": 1.5}
    if figure.state == "unseen":
        outline = {**outline, "stroke": theme.unseen, "stroke-dasharray": "5 4"}
    elif figure.state == "seen":
        outline = {**outline, "stroke": theme.seen, "stroke-width": 2}
    elif figure.state == "undeclared":
        outline = {**outline, "stroke": theme.undeclared, "stroke-width": 2.4}
    parts = [title(figure.title), _outline(figure, outline, theme)]
    parts += [_icon(piece, theme) for piece in figure.pieces]
    parts += [text_of(piece, _piece_colour(piece, figure.state, theme)) for piece in figure.pieces]
    return element("g", {"class": f"node {figure.shape}", "data-node": figure.id}, "".join(parts))


def _outline(figure: Figure, outline: Mapping[str, object], theme: Theme) -> str:
    box, lane = figure.box, figure.lane
    is_unseen = figure.state == "unseen"
    if figure.shape == "circle":
        fill = theme.node if is_unseen else theme.tint(lane, theme.start_share, theme.node)
        return _rect(box, {**outline, "rx": box.height / 2, "fill": fill})
    if figure.shape == "diamond":
        x, y = box.centre
        corners = f"M{number(x)} {number(box.y)}L{number(box.right)} {number(y)}L{number(x)} {number(box.bottom)}L{number(box.x)} {number(y)}Z"
        fill = theme.node if is_unseen else theme.tint(lane, theme.decision_share, theme.node)
        return element("path", {**outline, "d": corners, "fill": fill, "stroke-linejoin": "round"})
    if figure.shape == "decision":
        fill = theme.tint(lane, theme.decision_share, theme.node)
        return element("path", {**outline, "d": _hexagon(box), "fill": fill, "stroke-linejoin": "round"})
    if figure.shape == "taskbox":
        hue = theme.unseen if is_unseen else theme.hue(lane)
        stripe = _rect(Box(box.x + 7, box.y + 8, 3.5, box.height - 16), {"rx": 1.75, "fill": hue})
        return _rect(box, {**outline, "rx": 4}) + stripe
    if figure.shape in {"component", "participant"}:
        fill = theme.tint(lane, theme.header_share, theme.page)
        return _rect(box, {**outline, "rx": 8, "fill": fill})
    return _rect(box, {**outline, "rx": 7})


def _hexagon(box: Box) -> str:
    tip, y = 11.0, box.centre[1]
    corners = [
        (box.x, y),
        (box.x + tip, box.y),
        (box.right - tip, box.y),
        (box.right, y),
        (box.right - tip, box.bottom),
        (box.x + tip, box.bottom),
    ]
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in corners) + "Z"


def _icon(piece: Piece, theme: Theme) -> str:
    """Draw a person before an owner, a stack of discs before a system."""
    x, y = piece.box.x - 15, piece.box.y + piece.box.height / 2
    if piece.role == "owner":
        person = f"M{number(x + 0.5)} {number(y + 5)}a4.5 4.5 0 0 1 9 0z"
        return element("circle", {"cx": x + 5, "cy": y - 2.6, "r": 2.4, "fill": theme.soft_ink}) + element(
            "path", {"d": person, "fill": theme.soft_ink}
        )
    if piece.role == "system":
        discs = (
            f"M{number(x + 0.8)} {number(y - 3)}v6c0 2.2 8.4 2.2 8.4 0v-6c0 -2.2 -8.4 -2.2 -8.4 0c0 2.2 8.4 2.2 8.4 0"
        )
        return element("path", {"d": discs, "fill": "none", "stroke": theme.soft_ink, "stroke-width": 1.2})
    return ""


def _rect(box: Box, attributes: Mapping[str, object]) -> str:
    return element("rect", {"x": box.x, "y": box.y, "width": box.width, "height": box.height, **attributes})
