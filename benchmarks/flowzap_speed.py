"""How fast the language is: a diagram of nearly 50,000 characters, its limit, parsed and checked, formatted, compared.

Run `python -m benchmarks.flowzap_speed`. The median of several runs; each is one whole text, nothing is kept between runs. The hostile
texts are the slowest that fuzzing found: what the limit costs when somebody means harm.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console

from benchmarks.figure import Figure, machine, show
from freehold.flowzap import parse
from freehold.flowzap.diff import differences
from freehold.flowzap.format import formatted
from freehold.flowzap.report import describe
from freehold.flowzap.source import CHARACTERS_MAX

RUNS = 15
NODES_A_LANE = 30
HOSTILE = {
    "quotes": '"',
    "lanes in lanes": "{\n",
    "braces": "}",
    "half texts": ' "a',
    "loops": "loop [x] n1 n2\n",
    "arrows": "n1 -> ",
}


def main() -> None:
    """Measure and print."""
    show(measure(), Console(width=140))
    print(machine())


def measure() -> list[Figure]:
    """Give all figures."""
    text = large()
    document = parse(text)
    other = parse(text.replace("Step", "Stage"))
    wrong = text.replace("circle", "circel").replace("->", "-->")
    figures = [
        _figure(f"parse and check {len(text):,} characters", lambda: parse(text), "50"),
        _figure("the same with a mistake in every second line, told", lambda: describe(parse(wrong), "wrong.fz")),
        _figure("format", lambda: formatted(document)),
        _figure("compare two", lambda: differences(document.graph, other.graph)),
    ]
    for name, part in HOSTILE.items():
        hostile = ("A { # A\n" + part * CHARACTERS_MAX)[:CHARACTERS_MAX]
        figures.append(_figure(f"parse and check 50,000 hostile characters: {name}", partial(parse, hostile), "1,000"))
    return figures


def large() -> str:
    """Make the largest diagram that the language allows, as people write them: lanes of steps that hand on."""
    blocks: list[str] = []
    number, size = 0, 0
    while True:
        lane = len(blocks) + 1
        ids = range(number + 1, number + NODES_A_LANE + 1)
        lines = [f"Lane{lane} {{ # Lane number {lane}"]
        lines += [f'n{at}: {"circle" if at == ids[0] else "rectangle"} label:"Step number {at}"' for at in ids]
        lines += [f'n{at}.handle(right) -> n{at + 1}.handle(left) [label="Go on"]' for at in ids[:-1]]
        if lane > 1:
            lines.append(f"n{ids[0]}.handle(top) -> Lane{lane - 1}.n{number}.handle(bottom)")
        block = "\n".join([*lines, "}\n"])
        if size + len(block) > CHARACTERS_MAX:
            return "".join(blocks)
        blocks.append(block)
        number, size = number + NODES_A_LANE, size + len(block)


def _figure(name: str, work: Callable[[], object], wanted_ms: str = "") -> Figure:
    times_ms = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times_ms.append((time.perf_counter() - started) * 1_000)
    return Figure(name=name, value=statistics.median(times_ms), unit="ms", wanted=wanted_ms and f"{wanted_ms} ms")


if __name__ == "__main__":
    main()
