"""Write a span for each statement that this process sends through asyncpg, to whomever it sends it.

Only in a process that is traced, and only beneath a span that is kept. A span says which database and which table, never
a value: queries carry personal data. Connections that are not the store's own are seen too: a service that reads another
one's tables with credentials that it should not have is what `freehold verify` looks for.
"""

from __future__ import annotations

import functools
import re
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg

from freehold.telemetry import write_statement

# What manages a session or a transaction is no use of data.
_NO_STATEMENT = re.compile(
    r"\s*(?:BEGIN|START|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET|SHOW|DISCARD|DEALLOCATE|$)", re.I
)
_VERB = re.compile(r"\s*(\w+)")
# In a WITH statement what is changed counts, wherever it stands; FOR UPDATE changes nothing.
_CHANGING = re.compile(
    r"""(?<!FOR\s)(?<!KEY\s)\b(?P<verb>INSERT|UPDATE|DELETE|MERGE)\s+(?:INTO\s+|FROM\s+)?(?:ONLY\s+)?"""
    r"""(?P<table>(?!OF\b)"?\w+"?(?:\."?\w+"?)?)""",
    re.IGNORECASE,
)
_TABLE = re.compile(
    r"""\b(?:
        (?:INTO|UPDATE|COPY|TABLE)\s+(?:ONLY\s+)?(?P<written>"?\w+"?(?:\."?\w+"?)?)
        | FROM\s+(?:ONLY\s+)?(?P<read>"?\w+"?(?:\."?\w+"?)?)(?![\w.]|\s*\()
    )""",
    re.IGNORECASE | re.VERBOSE,
)
# What the driver asks the server about itself.
_CATALOG = "pg_catalog."
# A statement's head names its table; rows of values may follow by the megabyte.
_HEAD_CHARACTERS = 2_000


def observe_asyncpg(service: str, own_url: str) -> None:
    """Have every connection that is made from now on tell of its statements; once a process."""
    own = urlsplit(own_url) if own_url.startswith("postgres") else None
    own_place = (unquote(own.path.lstrip("/")), own.port or 5432) if own is not None else None
    make = asyncpg.Connection.__init__

    def tell(record: Any) -> None:
        operation, table = summarise(record.query)
        address = record.conn_addr if isinstance(record.conn_addr, tuple) else ("", 0)
        database = record.conn_params.database or ""
        if operation:
            owner = service if own_place == (database, address[1]) else ""
            write_statement("postgresql", operation, table, (database, *address[:2]), owner, record.elapsed)

    @functools.wraps(make)
    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.add_query_logger(tell)

    asyncpg.Connection.__init__ = initialise  # type: ignore[method-assign]


def summarise(query: str) -> tuple[str, str]:
    """Give a statement's verb and its first table, without quotes; empty for what touches no data."""
    head = query[:_HEAD_CHARACTERS]
    verb = _VERB.match(head)
    if verb is None or _NO_STATEMENT.match(head):
        return "", ""
    operation = verb[1].upper()
    if operation == "WITH":
        changing = _CHANGING.search(head)
        if changing is not None:
            return changing["verb"].upper(), changing["table"].replace('"', "")
        operation = "SELECT"
    found = _TABLE.search(head)
    table = (found["written"] or found["read"]).replace('"', "") if found else ""
    if table.startswith("pg_") or (not table and _CATALOG in head):
        return "", ""
    return operation, table
