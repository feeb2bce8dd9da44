"""Reading the replication stream: pure, so tried with what no server would be brought to send."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import ConfigurationError
from freehold.event import OutboxRow
from freehold.outbox import pgoutput
from freehold.outbox.pgoutput import COLUMNS, Visibility

HEADER = struct.pack(">cqqq", b"w", 1, 2, 3)
WRAP = 1 << 32


def value(data: bytes, kind: bytes = b"b") -> bytes:
    return kind + struct.pack(">i", len(data)) + data


def insert_message(row: OutboxRow, kind: bytes = b"b") -> bytes:
    return b"".join(
        [
            HEADER,
            struct.pack(">cIcH", b"I", 77, b"N", 6),
            value(row.key.encode(), kind),
            value(struct.pack(">q", row.version), kind),
            value(struct.pack(">i", row.index), kind),
            value(row.type.encode(), kind),
            value(row.headers, kind),
            value(row.data, kind),
        ]
    )


def relation_message(schema: str, table: str, columns: tuple[str, ...]) -> bytes:
    described = b"".join(b"\0" + name.encode() + b"\0" + struct.pack(">Ii", 25, -1) for name in columns)
    names = f"{schema}\0{table}\0d".encode()
    return HEADER + struct.pack(">cI", b"R", 77) + names + struct.pack(">H", len(columns)) + described


ROWS = st.builds(
    OutboxRow,
    key=st.text(st.characters(exclude_categories=["Cs"])),
    version=st.integers(-(1 << 63), (1 << 63) - 1),
    index=st.integers(-(1 << 31), (1 << 31) - 1),
    type=st.text(st.characters(exclude_categories=["Cs"])),
    headers=st.binary(),
    data=st.binary(),
)


@given(ROWS)
def test_inserted_row_is_read_as_it_was_written(row: OutboxRow) -> None:
    assert pgoutput.read_insert(memoryview(insert_message(row))) == row


def test_values_as_text_are_refused() -> None:
    row = OutboxRow("user/a", 1, 0, "users.Test", b"h", b"d")

    with pytest.raises(ConfigurationError, match="binary"):
        pgoutput.read_insert(memoryview(insert_message(row, kind=b"t")))


def test_begin_and_commit_are_read() -> None:
    assert pgoutput.read_begin(HEADER + struct.pack(">cqqI", b"B", 10, 11, 4_000_000_000)) == 4_000_000_000
    assert pgoutput.read_commit(HEADER + struct.pack(">cBqqq", b"C", 0, 10, 99, 11)) == 99


def test_keepalive_says_whether_it_wants_an_answer() -> None:
    assert pgoutput.read_keepalive(struct.pack(">cqqB", b"k", 42, 7, 1)) == (42, True)
    assert pgoutput.read_keepalive(struct.pack(">cqqB", b"k", 42, 7, 0)) == (42, False)


def test_status_confirms_one_position_as_written_flushed_and_applied() -> None:
    assert pgoutput.format_status(42, 7) == struct.pack(">cqqqqB", b"r", 42, 42, 42, 7, 0)


def test_outbox_is_known_by_its_columns() -> None:
    pgoutput.check_relation(relation_message("freehold", "outbox", COLUMNS))


@pytest.mark.parametrize(
    ("schema", "table", "columns"),
    [
        ("public", "outbox", COLUMNS),
        ("freehold", "other", COLUMNS),
        ("freehold", "outbox", COLUMNS[:-1]),
        ("freehold", "outbox", (*COLUMNS, "created_at")),
        ("freehold", "outbox", ("version", "key", *COLUMNS[2:])),
    ],
)
def test_any_other_table_is_refused(schema: str, table: str, columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="publication"):
        pgoutput.check_relation(relation_message(schema, table, columns))


def test_snapshot_saw_what_was_over_and_not_in_progress() -> None:
    visibility = Visibility("10:20:12,15")

    assert [xid for xid in range(5, 25) if visibility.saw(xid)] == [5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 17, 18, 19]


@given(
    xmax=st.integers(1 << 31, 1 << 40),
    offsets=st.lists(st.integers(-1_000_000, 1_000_000), max_size=50),
    in_progress=st.sets(st.integers(-1_000, -1)),
)
def test_numbers_are_told_apart_wherever_they_wrap(xmax: int, offsets: list[int], in_progress: set[int]) -> None:
    xmin = xmax - 1_000
    visibility = Visibility(f"{xmin}:{xmax}:{','.join(str(xmax + offset) for offset in sorted(in_progress))}")

    for offset in offsets:
        expected = offset < 0 and offset not in in_progress
        assert visibility.saw((xmax + offset) % WRAP) is expected


def test_log_may_be_followed_for_longer_than_the_numbers_last() -> None:
    """What is 2^32 later has the number of what the snapshot saw, and is not it."""
    xmax = 3 * WRAP + 100
    visibility = Visibility(f"{xmax}:{xmax}:")
    seen = [visibility.saw((xmax + step * (1 << 30)) % WRAP) for step in range(12)]

    assert visibility.saw((xmax + 11 * (1 << 30) - 5) % WRAP) is False
    assert seen == [False] * 12
