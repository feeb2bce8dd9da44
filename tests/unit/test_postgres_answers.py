"""What stands between the transport and asyncpg takes out the answer to BEGIN, however it comes, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.store.postgres_connections import _Answers


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


BEGIN = message(b"C", b"BEGIN\0")
READY = message(b"Z", b"T")
NOTICE = message(b"N", b"SNOTICE\0\0")
SETTING = message(b"S", b"TimeZone\0UTC\0")
FAREWELL = message(b"E", b"SFATAL\0\0")
RESULT = message(b"2", b"") + message(b"D", b"\0\1row") + message(b"C", b"SELECT 1\0") + message(b"Z", b"T")


class Received(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


def feed(stream: bytes, cuts: list[int], *, expects_begin: bool = True) -> tuple[bytes, bool]:
    received = Received()
    answers = _Answers(received)
    answers.expects_begin = expects_begin
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        answers.data_received(stream[start:end])
    return received.data, answers.expects_begin


CUTS = st.lists(st.integers(0, 200), max_size=12)


@given(CUTS)
def test_answer_to_begin_is_taken_out(cuts: list[int]) -> None:
    assert feed(BEGIN + READY + RESULT, cuts) == (RESULT, False)


@given(CUTS)
def test_what_comes_between_is_passed_on(cuts: list[int]) -> None:
    stream = NOTICE + BEGIN + SETTING + READY + RESULT + NOTICE

    assert feed(stream, cuts) == (NOTICE + SETTING + RESULT + NOTICE, False)


@given(CUTS)
def test_farewell_of_the_server_is_passed_on(cuts: list[int]) -> None:
    assert feed(NOTICE + FAREWELL, cuts) == (NOTICE + FAREWELL, False)


@given(CUTS)
def test_nothing_is_taken_out_when_no_begin_was_sent(cuts: list[int]) -> None:
    assert feed(BEGIN + READY + RESULT, cuts, expects_begin=False) == (BEGIN + READY + RESULT, False)


@pytest.mark.parametrize("length", range(len(BEGIN + READY)))
def test_unfinished_answer_is_waited_for(length: int) -> None:
    assert feed((BEGIN + READY)[:length], []) == (b"", True)
