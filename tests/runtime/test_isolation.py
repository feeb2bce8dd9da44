"""Promise 7: the check finds nothing on a system as it is started, and finds each hole that is opened on purpose."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pymongo import MongoClient

from freehold.runtime.isolation.attempt import Attempt, NoAnswer, Refused, carry_out
from freehold.runtime.isolation.kafka import _ask_without_login
from freehold.topic.address import KafkaAddress
from tests.runtime.small_system import SOURCE, SmallSystem, small_system, wait_until

TIMEOUT_S = 20.0
services = pytest.mark.services
patient = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSystem]:
    with small_system(tmp_path_factory.mktemp("small")) as started:
        started.up("--no-demo")
        # A topic is made by its owner in the background; what is tried on one that is not there proves nothing.
        wait_until(lambda: bool(started.note()), "a note can be written")
        wait_until(lambda: "notes.NoteWritten" in _tail(started), "the note is on its topic")
        yield started


def _tail(system: SmallSystem) -> str:
    return system.freehold("events", "tail", "notes", "--no-follow").output


def check(system: SmallSystem) -> tuple[int, list[dict[str, Any]]]:
    done = system.freehold("check", "isolation", "--json")
    assert done.code in {0, 1}, done.errors
    results: list[dict[str, Any]] = json.loads(done.output)
    return done.code, results


def failed(results: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(each["who"], each["what"], each["got"]) for each in results if not each["ok"]}


@services
@patient
def test_nothing_is_allowed_that_must_not_be(system: SmallSystem) -> None:
    code, results = check(system)

    assert failed(results) == set()
    assert code == 0
    tried = {(each["who"], each["server"]) for each in results}
    assert tried == {
        (who, server) for who in ("notes", "tags", "marks", "nobody") for server in ("postgres", "mongo", "kafka")
    }
    what = {each["what"] for each in results if each["got"] == "refused"}
    assert {
        "connect to tags's database and list its tables",
        "take a base backup",
        "read a file of the server",
        "read notes's documents",
        "read the oplog",
        "write to notes's topic",
        "see where notes's consumers stand, or move them",
        "use the controller without a password",
        "use the client listener without a password",
        "connect to notes's database without a password",
        "list databases without a password",
    } <= what
    # The only thing allowed is to copy a server that is one's own.
    allowed = {(each["who"], each["what"], each["expected"]) for each in results if each["got"] == "allowed"}
    copying = "take a base backup over its own log connection"
    assert allowed == {("notes", copying, "survivable"), ("tags", copying, "survivable")}


@services
@patient
def test_table_is_for_people(system: SmallSystem) -> None:
    done = system.freehold("check", "isolation")

    assert "write to notes's topic" in done.output
    assert "0 not as they must be" in done.errors


@services
@patient
def test_superuser_is_found_out(system: SmallSystem) -> None:
    with psycopg.connect(admin_url(system, "postgres"), autocommit=True) as admin:
        admin.execute("ALTER ROLE notes SUPERUSER")
        try:
            code, results = check(system)
        finally:
            admin.execute("ALTER ROLE notes NOSUPERUSER")

    assert code == 1
    assert {
        ("notes", "read a file of the server", "allowed"),
        ("notes", "make a role", "allowed"),
        ("notes", "make a database", "allowed"),
        ("notes", "read the password table", "allowed"),
    } <= failed(results)


@services
@patient
def test_user_who_reads_all_of_mongodb_is_found_out(system: SmallSystem) -> None:
    roles = [{"role": "readAnyDatabase", "db": "admin"}]
    with MongoClient[dict[str, Any]](admin_url(system, "mongo")) as admin:
        admin.marks.command({"grantRolesToUser": "marks", "roles": roles})
        try:
            code, results = check(system)
        finally:
            admin.marks.command({"revokeRolesFromUser": "marks", "roles": roles})

    assert code == 1
    assert {
        ("marks", "read notes's documents", "allowed"),
        ("marks", "see the names of others' databases", "allowed"),
        ("marks", "follow the changes of all databases", "allowed"),
    } <= failed(results)


@services
@patient
@pytest.mark.parametrize(
    ("operation", "what"),
    [
        (AclOperation.WRITE, "write to notes's topic"),
        (AclOperation.ALTER, "add partitions to notes's topic"),
        (AclOperation.ALTER_CONFIGS, "change the settings of notes's topic"),
        (AclOperation.DELETE, "have any other right on notes's topic"),
    ],
)
def test_right_on_anothers_topic_is_found_out(system: SmallSystem, operation: AclOperation, what: str) -> None:
    with granted(system, operation):
        code, results = check(system)

    assert code == 1
    assert ("tags", what, "allowed") in failed(results)


@services
@patient
def test_services_that_share_a_postgres_fail_the_check(system: SmallSystem, tmp_path: Path) -> None:
    """It is the user's own server, so they are started all the same; that each can copy the other's rows is told."""
    names = {"notes": "letters", "tags": "labels", "marks": "stamps"}
    source = renamed_copy(tmp_path / "source", names)
    urls = {f"FREEHOLD_{kind.upper()}_URL": admin_url(system, kind) for kind in ("postgres", "mongo", "kafka")}
    (tmp_path / "own").mkdir()
    with small_system(tmp_path / "own") as own:
        started = own.freehold("up", str(source), "--detach", "--no-demo", timeout_s=240, variables=urls)
        assert started.code == 0, started.errors
        code, results = check(own)

    assert code == 1
    copying = "take a base backup over its own log connection"
    assert {each for each in failed(results) if each[1] == copying} == {
        ("letters", copying, "allowed"),
        ("labels", copying, "allowed"),
    }
    assert ("letters", "drop an idle slot of labels", "survivable") in {
        (each["who"], each["what"], each["expected"]) for each in results if each["got"] == "allowed"
    }


def renamed_copy(folder: Path, names: dict[str, str]) -> Path:
    """Make a system with services of other names, so that it can share servers with the first."""
    shutil.copytree(SOURCE, folder)
    text = (folder / "system.py").read_text()
    for old, new in names.items():
        text = text.replace(f'name="{old}"', f'name="{new}"').replace(f'of="{old}"', f'of="{new}"')
        text = text.replace(f'to="{old}"', f'to="{new}"')
    (folder / "system.py").write_text(text)
    return folder


def test_silence_is_no_refusal() -> None:
    def ask() -> str:
        raise NoAnswer("nobody is there")

    result = carry_out(Attempt("tags", "kafka", "read", ask))

    assert (result.got, result.ok) == ("no answer", False)


def test_what_is_survivable_may_be_allowed_or_refused() -> None:
    def refuse() -> str:
        raise Refused("no")

    results = [
        carry_out(Attempt("tags", "postgres", "drop", run, expected="survivable", why="it is made again"))
        for run in (refuse, lambda: "dropped")
    ]

    assert [(result.got, result.ok) for result in results] == [("refused", True), ("allowed", True)]
    assert results[1].detail == "it is made again"


def test_server_that_answers_without_a_login_is_found_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(b"\0\0\0\4answ")

        thread = threading.Thread(target=answer)
        thread.start()
        words = _ask_without_login("127.0.0.1", server.getsockname()[1])
        thread.join()

    assert words == "the server answered without a login"


def admin_url(system: SmallSystem, kind: str) -> str:
    """Give the administrator's URL of an embedded server."""
    port = system.status()[kind]["port"]
    password = json.loads((system.directory / ".freehold" / "secrets.json").read_text())[f"{kind}/admin"]
    return {
        "postgres": f"postgresql://admin:{password}@127.0.0.1:{port}/postgres?sslmode=disable",
        "mongo": f"mongodb://admin:{password}@127.0.0.1:{port}/?replicaSet=freehold&authSource=admin",
        "kafka": KafkaAddress((f"127.0.0.1:{port}",), "admin", password, "SASL_PLAINTEXT").format(),
    }[kind]


@contextlib.contextmanager
def granted(system: SmallSystem, operation: AclOperation) -> Iterator[None]:
    """Let `tags` do more with the topic of `notes` for a while."""
    config: dict[str, Any] = dict(KafkaAddress.parse(admin_url(system, "kafka")).client_config())
    admin = AdminClient(config)
    names = (ResourceType.TOPIC, "notes", ResourcePatternType.LITERAL, "User:tags", "*", operation)
    for future in admin.create_acls([AclBinding(*names, AclPermissionType.ALLOW)]).values():
        future.result(TIMEOUT_S)
    try:
        yield
    finally:
        for future in admin.delete_acls([AclBindingFilter(*names, AclPermissionType.ALLOW)]).values():
            future.result(TIMEOUT_S)
