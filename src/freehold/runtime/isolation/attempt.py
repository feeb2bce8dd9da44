"""An attempt to reach what is not one's own, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import msgspec

Got = Literal["refused", "allowed", "no answer"]
Expected = Literal["refused", "survivable"]
WORDS_MAX = 100

NOBODY = "nobody"


class Refused(Exception):
    """The server refused, in these words."""


class NoAnswer(Exception):
    """Nothing was learnt: the server did not answer, or answered something else."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """A service and its own credentials."""

    name: str
    kind: str
    store_url: str = dataclasses.field(repr=False)
    kafka_url: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What is tried: `run` raises Refused or NoAnswer, and returns what it was able to do in words.

    `expected` is survivable where the product cannot refuse; `why` then says what makes it harmless.
    """

    who: str
    server: str
    what: str
    run: Callable[[], str]
    expected: Expected = "refused"
    why: str = ""


class Result(msgspec.Struct, frozen=True):
    """What came of an attempt; `ok` when it was refused, or is known to be survivable."""

    who: str
    server: str
    what: str
    expected: Expected
    got: Got
    ok: bool
    detail: str


def carry_out(attempt: Attempt) -> Result:
    """Try it."""
    got: Got
    try:
        got, words = "allowed", attempt.run()
    except Refused as refusal:
        got, words = "refused", str(refusal)
    except NoAnswer as problem:
        got, words = "no answer", str(problem)
    ok = got == "refused" or (got == "allowed" and attempt.expected == "survivable")
    detail = attempt.why if got == "allowed" and attempt.why else shorten(words)
    return Result(attempt.who, attempt.server, attempt.what, attempt.expected, got, ok, detail)


def shorten(words: str) -> str:
    """Keep what a server says before it quotes what it was asked, in one line."""
    line = " ".join(words.partition(" {")[0].partition("DETAIL:")[0].split())
    return line if len(line) <= WORDS_MAX else f"{line[: WORDS_MAX - 1]}…"
