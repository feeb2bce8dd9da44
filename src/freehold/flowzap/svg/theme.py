"""Colours: one hue a lane, everything else quiet."""

from __future__ import annotations

import dataclasses
from typing import Literal

ThemeName = Literal["light", "dark"]

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, Arimo, sans-serif"


@dataclasses.dataclass(frozen=True, slots=True)
class Theme:
    """All colours of a drawing."""

    page: str
    node: str
    ink: str
    soft_ink: str
    wire: str
    border: str
    seen: str
    unseen: str
    undeclared: str
    hues: tuple[str, ...]
    band_share: float
    header_share: float
    start_share: float
    decision_share: float
    outline_share: float

    def hue(self, lane: int) -> str:
        """Give a lane's own colour."""
        return self.hues[lane % len(self.hues)]

    def tint(self, lane: int, share: float, ground: str = "") -> str:
        """Mix a lane's colour into a ground (the page)."""
        return mix(self.hue(lane), ground or self.page, share)


def mix(colour: str, ground: str, share: float) -> str:
    """Give `share` of a colour on a ground, both as #rrggbb."""
    parts = []
    for place in (1, 3, 5):
        over, under = int(colour[place : place + 2], 16), int(ground[place : place + 2], 16)
        parts.append(round(over * share + under * (1 - share)))
    return "#{:02x}{:02x}{:02x}".format(*parts)


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        page="#ffffff",
        node="#ffffff",
        ink="#1c2733",
        soft_ink="#5a6877",
        wire="#55636f",
        border="#d5dbe1",
        seen="#16794c",
        unseen="#a2abb4",
        undeclared="#cf222e",
        hues=("#2563c9", "#0b8276", "#8250c4", "#b7671a", "#bf3f75", "#4b7a1f", "#0f7ea8", "#6b5b4d"),
        band_share=0.035,
        header_share=0.15,
        start_share=0.16,
        decision_share=0.07,
        outline_share=0.78,
    ),
    "dark": Theme(
        page="#10151b",
        node="#1a222b",
        ink="#e8eef4",
        soft_ink="#b3c0cc",
        wire="#98a7b5",
        border="#2c3743",
        seen="#4cc38a",
        unseen="#5d6874",
        undeclared="#ff6b6b",
        hues=("#6ea8ff", "#45c8b8", "#b896f5", "#e8a355", "#f08bb4", "#9fce6a", "#5bc0e8", "#c0ab98"),
        band_share=0.045,
        header_share=0.2,
        start_share=0.26,
        decision_share=0.13,
        outline_share=0.72,
    ),
}
