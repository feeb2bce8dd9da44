"""The servers' own logs tell of whoever comes to a service's store without being that service's."""

import asyncio
import contextlib
import json
from pathlib import Path

import psycopg
import pytest

from freehold.conform.span import Span
from freehold.conform.witness import find_strangers, untold, watch_connections
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.provision.postgres import provision_postgres
from freehold.runtime.supervisor.state import Place, ProcessState, SystemState

STOP_S = 10.0


def state_of(name: str, log: Path, port: int = 1) -> SystemState:
    process = ProcessState(name=name, role="server", log=str(log), port=port)
    return SystemState(system="shop", target="", pid=1, started_ticks=None, processes=[process])


def mongo_lines(connection: str, user: str, name: str | None) -> str:
    document = {} if name is None else {"application": {"name": name}}
    told = [
        {"id": 51800, "ctx": connection, "attr": {"doc": document}},
        {"id": 20250, "ctx": connection, "attr": {"principalName": user}},
    ]
    # As MongoDB writes it: the number first, without blanks.
    return "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in told)


def test_mongo_tells_of_a_user_that_does_not_call_itself_that_services(tmp_path: Path) -> None:
    log = tmp_path / "mongo.log"
    own = mongo_lines("conn1", "orders", "freehold/orders/0123") + mongo_lines("conn2", "admin", None)
    log.write_text(own + "half a li")

    assert find_strangers(state_of("mongo", log), ["orders", "users"]) == {}

    log.write_text(own + mongo_lines("conn3", "orders", "freehold/users/0123") + mongo_lines("conn4", "users", None))
    assert find_strangers(state_of("mongo", log), ["orders", "users"]) == {
        "orders": ("mongodb", "freehold/users/0123"),
        "users": ("mongodb", "no name"),
    }


def test_stranger_that_the_traces_tell_of_is_not_told_twice() -> None:
    told = Span(
        "t", "s", "", "orders", "SELECT", "client", 1, 2, {"db.system.name": "postgresql", "db.namespace": "users"}
    )
    strangers = {"users": ("postgresql", "psql"), "orders": ("mongodb", "no name")}

    assert [span.attributes["db.namespace"] for span in untold(strangers, [told])] == ["orders"]
    assert [span.service for span in untold(strangers, [])] == ["a stranger", "a stranger"]


@pytest.mark.services
async def test_real_postgres_tells_of_a_stolen_credential(tmp_path: Path) -> None:
    place = Place(tmp_path / ".freehold")
    server = PostgresServer(place.directory / "postgres", secrets=place.secrets)
    await asyncio.to_thread(server.start, print)
    try:
        url = provision_postgres(server.admin_url, "users", "secret")
        state = state_of("postgres", server.log, server.port)
        watch_connections(place, state)
        for name in ("freehold users", "freehold users relay", "freehold users migration"):
            psycopg.connect(url, application_name=name).close()

        assert find_strangers(state, ["users", "orders"]) == {}

        psycopg.connect(url, application_name="psql").close()
        assert find_strangers(state, ["users", "orders"]) == {"users": ("postgresql", "psql")}
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.stop(STOP_S)
