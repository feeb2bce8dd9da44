"""Texts that Hypothesis makes: diagrams that are right, the forms that real files have, and mutilated ones."""

import dataclasses
import re
from collections.abc import Callable

from hypothesis import strategies as st

SHAPES = ("circle", "rectangle", "diamond", "taskbox")
SIDES = ("left", "right", "top", "bottom")
LABELS = st.text(st.characters(exclude_characters='"\r\n', exclude_categories=["Cs"]), max_size=60)
NAMES = st.text(st.characters(exclude_characters="#\r\n", exclude_categories=["Cs"]), max_size=12)
CONDITIONS = st.text(st.characters(exclude_characters="]\r\n", exclude_categories=["Cs"]), min_size=1, max_size=20)
COMMENTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
PIECES = st.sampled_from(
    [
        *"{}[]#:=\"'.->\\/ \t\r\n\x00\x0b\x1c\x85\ufeff\u2028\u202e\u200b😀n1",
        *(
            "Shop { # Shop\n",
            "Shop.",
            "n1",
            "n2",
            "n12",
            "n0",
            "label",
            'label:"x"',
            '[label="x"]',
            "handle(",
            ".handle(left)",
        ),
        *(
            " -> ",
            "-->",
            "loop ",
            "loop [x] n1 n2",
            "}\n",
            "\r\n",
            "// ",
            "```",
            "circle",
            " rectangle ",
            "graph TD",
            "\n",
        ),
        *(
            'n1: circle label:"a"\n',
            'n2: diamond label="b"\n',
            "n1.handle(right) -> n2.handle(left)\n",
            "{ #",
            "n1 n2\n",
        ),
    ]
)
# Anything at all, and what looks enough like the language to reach its far corners.
SCRIBBLES = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map("".join))


@dataclasses.dataclass
class Draft:
    """A diagram that is being made: ids by lane."""

    lanes: list[str]
    homes: dict[int, int]


def _pick(draw: Callable[..., int], draft: Draft) -> int:
    return draw(st.sampled_from(sorted(draft.homes)))


@st.composite
def diagrams(draw: st.DrawFn, *, is_lenient: bool = False) -> str:
    """Make a diagram without errors; a lenient one has forms that the strict language does not have."""

    def odd() -> bool:
        return is_lenient and draw(st.integers(0, 3)) == 0

    lane_count = draw(st.integers(1, 4))
    draft = Draft([f"Lane{number}" for number in range(lane_count)], {})
    for number in range(1, draw(st.integers(1, 10)) + 1):
        draft.homes[number] = draw(st.integers(0, lane_count - 1))
    blocks = [_lane(draw, draft, place, odd) for place in range(lane_count)]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    strays = [line for line in (_edge(draw, draft, odd) for _ in range(draw(st.integers(0, 2)))) if is_lenient]
    text = end.join([*(line for block in blocks for line in block), *(line for line in strays if line)])
    return text + end * draw(st.booleans())


def _lane(draw: st.DrawFn, draft: Draft, place: int, odd: Callable[[], bool]) -> list[str]:
    seen = "".join(character for character in draw(NAMES) if character.isprintable())
    name = re.sub(r" n\d+ *:", " ", f" {seen}").strip(" ")
    opening = f"{draft.lanes[place]} {{" + (f" # {name}" if name.strip() else "")
    lines = [opening]
    if name and odd():
        lines = (
            [f"{draft.lanes[place]} {{# {name}"] if draw(st.booleans()) else [f"{draft.lanes[place]} {{", f"# {name}"]
        )
    members = [number for number, home in draft.homes.items() if home == place]
    nodes = [_node(draw, number, odd) for number in members]
    edges = [line for _ in range(draw(st.integers(0, 3))) if (line := _edge(draw, draft, odd, members))]
    loops = [_loop(draw, draft, odd) for _ in range(draw(st.integers(0, 1)) if draft.homes else 0)]
    body = [*nodes, *edges, *loops]
    if odd():
        body = draw(st.permutations(body))
    for line in body:
        lines += (
            [f"//{draw(COMMENTS)}"] * (draw(st.integers(0, 9)) == 0) + [""] * (draw(st.integers(0, 9)) == 0) + [line]
        )
    return [*lines, "}"]


def _node(draw: st.DrawFn, number: int, odd: Callable[[], bool]) -> str:
    keys = draw(st.lists(st.sampled_from(["label", "owner", "description", "system"]), unique=True, max_size=4))
    said = "".join(f' {key}{"=" if odd() else ":"}"{draw(LABELS)}"' for key in keys)
    gap = " " if odd() else ""
    return f"n{number}{gap}: {draw(st.sampled_from(SHAPES))}{said}"


def _edge(draw: st.DrawFn, draft: Draft, odd: Callable[[], bool], members: list[int] | None = None) -> str:
    sources = members if members and not odd() else sorted(draft.homes)
    if members is not None and not members and not odd():
        return ""
    source, target = draw(st.sampled_from(sources)), draw(st.sampled_from(sorted(draft.homes)))
    wrong = draw(st.integers(0, len(draft.lanes) - 1)) if odd() else draft.homes[target]
    is_near = draft.homes[source] == draft.homes[target]
    prefix = "" if is_near and draw(st.booleans()) else f"{draft.lanes[wrong]}."
    before = f"{draft.lanes[draft.homes[source]]}." if odd() else ""
    label = draw(LABELS) if draw(st.booleans()) else ""
    text = f' [label="{label}"]' if label or odd() else ""
    text = text.replace("=", draw(st.sampled_from([":", " = ", "="])), 1) if odd() else text
    sides = draw(st.sampled_from(SIDES)), draw(st.sampled_from(SIDES))
    return f"{before}n{source}.handle({sides[0]}) -> {prefix}n{target}.handle({sides[1]}){text}"


def _loop(draw: st.DrawFn, draft: Draft, odd: Callable[[], bool]) -> str:
    members = [_pick(draw, draft) for _ in range(draw(st.integers(2, 4)))]
    names = [(f"{draft.lanes[draft.homes[number]]}." if odd() else "") + f"n{number}" for number in members]
    condition = draw(
        CONDITIONS.filter(lambda text: any(character.isprintable() and character != " " for character in text))
    )
    return f"loop [{condition}] {' '.join(names)}"


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """Make a diagram and break it in a few places."""
    text = draw(diagrams(is_lenient=True))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        text = text[:at] + draw(PIECES | st.just("")) + text[at + length :]
    return text
