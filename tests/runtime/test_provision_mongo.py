"""A service reaches its own MongoDB database and no other; each refusal stands beside what shows that it is no accident."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, OperationFailure

from freehold.errors import ConfigurationError, StoreUnavailable
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.provision.mongo import provision_mongo
from freehold.runtime.provision.secrets import Secrets
from tests.runtime.conftest import STOP_TIMEOUT_S, mongo

pytestmark = pytest.mark.services

MONGO_UNAUTHORIZED = 13
AWKWARD = "p@ss/w:rd?&# %41 ü"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets(tmp_path_factory.mktemp("server") / "secrets.json")


@pytest.fixture(scope="module")
def server(secrets: Secrets) -> Iterator[MongoServer]:
    server = MongoServer(secrets.file.parent / "mongo", secrets=secrets)
    server.start(lambda _: None)
    yield server
    server.stop(STOP_TIMEOUT_S)


@pytest.fixture(scope="module")
def users(server: MongoServer) -> str:
    return provision_mongo(server.admin_url, "users", AWKWARD)


@pytest.fixture(scope="module")
def orders(server: MongoServer) -> str:
    url = provision_mongo(server.admin_url, "orders", "orders-password")
    with mongo(url) as client:
        client.orders.things.insert_one({"_id": 1})
    return url


def test_service_owns_its_database(users: str) -> None:
    with mongo(users) as client:
        database = client.get_default_database()
        database.create_collection("things", validator={"$jsonSchema": {"required": ["name"]}})
        database.things.create_index("name", unique=True)
        with client.start_session() as session, session.start_transaction():
            database.things.insert_one({"name": "one"}, session=session)
        with database.things.watch() as stream:
            database.things.insert_one({"name": "two"})
            assert stream.next()["fullDocument"]["name"] == "two"

        assert database.name == "users"
        assert client.write_concern.document == {"w": "majority"}


@pytest.mark.parametrize(
    "attempt",
    [
        lambda client: client.orders.things.find_one(),
        lambda client: client.orders.things.insert_one({}),
        lambda client: client.orders.things.watch().try_next(),
        lambda client: client.orders.command("createUser", "mine", pwd="pw", roles=["readWrite"]),
        lambda client: client.users.command("createUser", "mine", pwd="pw", roles=["root"]),
        lambda client: client.drop_database("orders"),
        lambda client: client.local["oplog.rs"].find_one(),
        lambda client: client.admin["system.users"].find_one(),
        lambda client: client.watch().try_next(),
        lambda client: client.admin.command("shutdown"),
    ],
)
def test_all_else_refuses_the_service(
    users: str, orders: str, attempt: Callable[["MongoClient[dict[str, Any]]"], object]
) -> None:
    with mongo(users) as client, pytest.raises(OperationFailure) as caught:
        attempt(client)

    assert caught.value.code == MONGO_UNAUTHORIZED


def test_session_of_a_killed_process_can_be_ended(users: str) -> None:
    """Its open transaction would block the document for as long as transactions may last."""

    def count(client: "MongoClient[dict[str, Any]]") -> None:
        with client.start_session() as session, session.start_transaction():
            client.users.counters.update_one({"_id": "blocked"}, {"$inc": {"count": 1}}, session=session)

    with mongo(users) as killed, mongo(users) as heir:
        killed.users.counters.insert_one({"_id": "blocked"})
        left = killed.start_session()
        left.start_transaction()
        killed.users.counters.update_one({"_id": "blocked"}, {"$inc": {"count": 100}}, session=left)
        with pytest.raises(OperationFailure, match="WriteConflict"):
            count(heir)
        heir.users.command("killSessions", [left.session_id])
        count(heir)

        assert heir.users.counters.find_one() == {"_id": "blocked", "count": 1}


def test_strangers_and_wrong_passwords_are_refused(server: MongoServer, users: str) -> None:
    with mongo(f"mongodb://127.0.0.1:{server.port}/?directConnection=true") as stranger:
        for attempt in (stranger.list_database_names, stranger.users.things.find_one):
            with pytest.raises(OperationFailure, match="requires authentication"):
                attempt()
    with (
        mongo(f"mongodb://users:wrong@127.0.0.1:{server.port}/?authSource=users") as client,
        pytest.raises(OperationFailure, match="Authentication failed"),
    ):
        client.users.things.find_one()


def test_doing_it_again_keeps_the_data_and_changes_the_password(server: MongoServer) -> None:
    old = provision_mongo(server.admin_url, "again", "old")
    with mongo(old) as client:
        client.again.kept.insert_one({"_id": 1})
    new = provision_mongo(server.admin_url, "again", "new")

    with mongo(new) as client:
        assert client.again.kept.find_one() == {"_id": 1}
    with mongo(old) as client, pytest.raises(OperationFailure):
        client.again.kept.find_one()


def test_lack_of_rights_and_of_a_server_are_told_apart(users: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.runtime.provision.mongo.SELECTION_TIMEOUT_MS", 500)

    with pytest.raises(ConfigurationError, match="not authorized"):
        provision_mongo(users, "elsewhere", "secret-word")
    with pytest.raises(StoreUnavailable) as caught:
        provision_mongo("mongodb://admin:secret-word@127.0.0.1:1/", "elsewhere", "secret-word")

    assert "secret-word" not in str(caught.value)


def test_log_holds_no_data_of_slow_or_refused_operations(server: MongoServer, users: str) -> None:
    """A slow operation would be logged whole, with its values; an erasure does not reach a log."""
    secret = "Zebulon@example.org"
    with mongo(users) as client:
        people = client.get_default_database()["people"]
        people.create_index("email", unique=True)
        people.insert_many([{"_id": 1, "email": secret}, {"_id": 2}])
        with pytest.raises(DuplicateKeyError):
            people.update_one({"_id": 2}, {"$set": {"email": secret}})
        assert people.find_one({"$where": "sleep(300) || true", "email": secret}) is not None

    assert server.log.exists()
    lines = [line for line in server.log.read_text().splitlines() if secret in line]
    assert lines == []
