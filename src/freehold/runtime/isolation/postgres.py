"""PostgreSQL: what a service's role tries on the databases, slots and files of others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from freehold.runtime.isolation.attempt import NOBODY, Attempt, Expected, Identity, NoAnswer, Refused

SERVER = "postgres"
CONNECT_TIMEOUT_S = 5
PROBE = "freehold_isolation_probe"
SHARED_DATABASES = ("postgres", "template1")
# SQLSTATE classes that mean "you may not": invalid authorization, insufficient privilege, and what pg_hba says.
REFUSALS = ("28", "42501", "0LP01")
WRONG_DATABASE = "was not created in this database"

# What only a superuser may do, each in a form that changes nothing: the database's template does not exist, and is looked
# for only after the right to make one.
NO_TEMPLATE = "3D000"
SUPERUSER_STATEMENTS = {
    "read a file of the server": "SELECT pg_read_file('PG_VERSION')",
    "run a program on the server": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read the password table": "SELECT rolpassword FROM pg_authid LIMIT 1",
    "make a role": f"BEGIN; CREATE ROLE {PROBE}; ROLLBACK",
    "make a database": f"CREATE DATABASE {PROBE} TEMPLATE {PROBE}_that_is_not_there",
    "make the server read its settings anew": "SELECT pg_reload_conf()",
    "hide its statements from the log": "SET log_statement = 'none'",
    "load code into the server": "LOAD 'pgoutput'",
}


def postgres_attempts(identities: Sequence[Identity]) -> list[Attempt]:
    """List what is tried on PostgreSQL; nothing when no service has its store there."""
    owners = [each for each in identities if each.kind == "postgres"]
    attempts: list[Attempt] = []
    for service in owners:
        others = [each for each in owners if each is not service]
        attempts += _on_others(service, others)
        attempts += _on_server(service, is_alone=not any(_host(each) == _host(service) for each in others))
    for owner in owners[:1]:
        for stranger in (each for each in identities if each.kind != "postgres"):
            attempts += _as_stranger(stranger, owner)
    for owner in owners:
        attempts.append(
            _attempt(NOBODY, f"connect to {owner.name}'s database without a password", _connect_nobody(owner))
        )
    return attempts


def _on_others(service: Identity, others: Sequence[Identity]) -> Iterator[Attempt]:
    databases = [(each.name, f"{each.name}'s database", each.store_url) for each in others]
    databases += [(name, f"the database {name}", service.store_url) for name in SHARED_DATABASES]
    for database, words, server_url in databases:
        url = _at(server_url, _user(service), database)
        yield _attempt(service.name, f"connect to {words} and list its tables", _connecting(url))
        yield _attempt(service.name, f"follow the log of {words}", _connecting(url, replication="database"))
    for other in others:
        if _host(other) != _host(service):
            continue  # another server: our role does not exist there, and its slots are not ours to see
        yield _attempt(service.name, f"become {other.name}'s role", _running(service, f'SET ROLE "{other.name}"'))
        yield _attempt(
            service.name, f"end {other.name}'s connections", functools.partial(_end_connections, service, other)
        )
        yield _attempt(service.name, f"read a slot of {other.name}", functools.partial(_read_slot, service, other))
        yield Attempt(
            service.name,
            SERVER,
            f"drop an idle slot of {other.name}",
            functools.partial(_drop_slot, service, other),
            expected="survivable",
            why="PostgreSQL lets every role with REPLICATION drop any idle slot; the relay finds its slot gone, "
            "sends what the outbox rows still hold, and makes a new one: nothing is lost",
        )


def _on_server(service: Identity, *, is_alone: bool) -> Iterator[Attempt]:
    for words, statement in SUPERUSER_STATEMENTS.items():
        yield _attempt(service.name, words, _running(service, statement))
    yield _attempt(service.name, "take a base backup", lambda: _base_backup(service, "true"))
    expected: Expected = "survivable" if is_alone else "refused"
    why = (
        "PostgreSQL lets every role with REPLICATION copy its whole server over its own connection; "
        "no other service has data on this one"
    )
    yield Attempt(
        service.name,
        SERVER,
        "take a base backup over its own log connection",
        lambda: _base_backup(service, "database"),
        expected,
        why if is_alone else "",
    )


def _as_stranger(stranger: Identity, owner: Identity) -> Iterator[Attempt]:
    password = urlsplit(stranger.store_url).password or ""
    for user in (stranger.name, owner.name):
        url = _at(owner.store_url, f"{quote(user, safe='')}:{password}", owner.name)
        words = f"connect to {owner.name}'s database as {user} with its own password"
        yield _attempt(stranger.name, words, _connecting(url))


def _attempt(who: str, what: str, run: Callable[[], str]) -> Attempt:
    return Attempt(who, SERVER, what, run)


def _connecting(url: str, **settings: str) -> Callable[[], str]:
    def run() -> str:
        with _connection(url, **settings) as connection:
            if "replication" in settings:
                return "connected for replication"
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
            return f"listed {found[0] if found else 0} tables"

    return run


def _connect_nobody(owner: Identity) -> Callable[[], str]:
    return _connecting(_at(owner.store_url, quote(owner.name, safe=""), owner.name), passfile="/dev/null/none")


def _running(service: Identity, statement: str) -> Callable[[], str]:
    """Run a statement as the service in its own database."""

    def run() -> str:
        with _connection(service.store_url) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                if error.sqlstate != NO_TEMPLATE:
                    raise
        return statement

    return run


def _end_connections(service: Identity, other: Identity) -> str:
    """Ask for the end of a connection of the other; ours to that database was refused, so we cannot have made it."""
    with _connection(service.store_url) as connection:
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s LIMIT 1"
        if connection.execute(statement, [other.name]).fetchone() is None:
            raise NoAnswer(f"{other.name} has no connection that could be ended; start it, then try again")
    return f"ended a connection of {other.name}"


def _read_slot(service: Identity, other: Identity) -> str:
    with _probe_slot(other, f"read_{service.name}") as slot, _connection(service.store_url) as connection:
        connection.execute("SELECT * FROM pg_logical_slot_peek_binary_changes(%s, NULL, 1)", [slot])
    return "read it"


def _drop_slot(service: Identity, other: Identity) -> str:
    with _probe_slot(other, f"drop_{service.name}") as slot, _connection(service.store_url) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    return "dropped it"


@contextlib.contextmanager
def _probe_slot(other: Identity, purpose: str) -> Iterator[str]:
    """Let the other make a slot like its relay's, for as long as it is needed: its own must not be put at risk."""
    slot = f"{PROBE}_{purpose}"[:63]
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
    with _connection(other.store_url) as owner:
        owner.execute(drop, [slot])
        owner.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
        try:
            yield slot
        finally:
            owner.execute(drop, [slot])


def _base_backup(service: Identity, replication: str) -> str:
    """Begin a backup, and hang up at the first piece of it."""
    separator = "&" if urlsplit(service.store_url).query else "?"
    url = f"{service.store_url}{separator}replication={replication}&connect_timeout={CONNECT_TIMEOUT_S}"
    connection = pq.PGconn.connect(url.encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            raise _judged(connection.error_message.decode(errors="replace"), None)
        result = connection.exec_(b"BASE_BACKUP (CHECKPOINT 'fast', WAIT false)")
        if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COPY_OUT}:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            raise _judged(result.error_message.decode(errors="replace"), state)
        return "the server began to send its files"
    finally:
        connection.finish()


@contextlib.contextmanager
def _connection(url: str, **settings: str) -> Iterator[psycopg.Connection]:
    try:
        wanted = make_conninfo(url, connect_timeout=CONNECT_TIMEOUT_S, **settings)
        with psycopg.connect(wanted, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise _judged(str(error), error.sqlstate) from error


def _judged(words: str, state: str | None) -> Exception:
    """Tell a refusal from everything else. A connection that libpq gave up carries no SQLSTATE, only the server's words."""
    refusing = (
        "no pg_hba.conf entry",
        "pg_hba.conf rejects",
        "authentication failed",
        "permission denied for database",
    )
    if (state or "").startswith(REFUSALS) or WRONG_DATABASE in words or any(each in words for each in refusing):
        return Refused(words.rpartition("FATAL: ")[2] or words)
    if "no password supplied" in words:
        return Refused("the server asks for a password")
    return NoAnswer(words)


def _host(service: Identity) -> str:
    return urlsplit(service.store_url).netloc.rpartition("@")[2]


def _user(service: Identity) -> str:
    return urlsplit(service.store_url).netloc.rpartition("@")[0]


def _at(url: str, user: str, database: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}", path=f"/{quote(database)}"))
