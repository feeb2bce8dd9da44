"""A service reaches its own PostgreSQL database and no other; each refusal stands beside what shows that it is no accident."""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from freehold.errors import ConfigurationError, StoreUnavailable
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.provision.postgres import provision_postgres
from freehold.runtime.provision.secrets import Secrets
from tests.runtime.conftest import ANSWER_TIMEOUT_S, STOP_TIMEOUT_S, wait_until

pytestmark = pytest.mark.services

AWKWARD = "p@ss/w:rd?&# %41 ü"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets(tmp_path_factory.mktemp("server") / "secrets.json")


@pytest.fixture(scope="module")
def server(secrets: Secrets) -> Iterator[PostgresServer]:
    server = PostgresServer(secrets.file.parent / "postgres", secrets=secrets)
    server.start(lambda _: None)
    yield server
    server.stop(STOP_TIMEOUT_S)


@pytest.fixture(scope="module")
def users(server: PostgresServer) -> str:
    return provision_postgres(server.admin_url, "users", AWKWARD)


@pytest.fixture(scope="module")
def orders(server: PostgresServer) -> str:
    return provision_postgres(server.admin_url, "orders", "orders-password")


def test_service_owns_its_database(users: str) -> None:
    with psycopg.connect(users, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA own CREATE TABLE own.things (id int)")
        connection.execute("CREATE PUBLICATION own FOR TABLE own.things")
        slot = connection.execute("SELECT pg_create_logical_replication_slot('own', 'pgoutput', true)").fetchone()

    assert slot


def test_service_may_follow_its_own_log(users: str) -> None:
    with psycopg.connect(users, replication="database", autocommit=True) as connection:
        found = connection.execute("IDENTIFY_SYSTEM").fetchone()

    assert found is not None
    assert found[3] == "users"


@pytest.mark.parametrize("database", ["orders", "postgres", "template1"])
def test_other_databases_refuse_the_service(users: str, orders: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
        psycopg.connect(users, dbname=database)


def test_right_to_connect_is_gone_as_well(server: PostgresServer, users: str, orders: str) -> None:
    """On a server of the user's own, where pg_hba.conf is not ours, this is what keeps services apart."""
    with psycopg.connect(server.admin_url) as connection:
        allowed = connection.execute(
            "SELECT rolname, datname FROM pg_roles, pg_database WHERE rolname IN ('users', 'orders') "
            "AND datname <> 'template0' AND has_database_privilege(rolname, datname, 'CONNECT') ORDER BY 1"
        ).fetchall()

    assert allowed == [("orders", "orders"), ("users", "users")]


def test_connection_for_physical_replication_is_refused(server: PostgresServer, users: str) -> None:
    """The administrator's shows that the door is there. (What a connection to the own database allows: decision 11.)"""
    with psycopg.connect(server.admin_url, replication="true", autocommit=True) as connection:
        assert connection.execute("IDENTIFY_SYSTEM").fetchone()

    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf"):
        psycopg.connect(users, replication="true")


def test_wrong_password_is_refused(users: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(users, password="wrong")


def test_doing_it_again_keeps_the_data_and_changes_the_password(server: PostgresServer) -> None:
    old = provision_postgres(server.admin_url, "again", "old")
    with psycopg.connect(old) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    new = provision_postgres(server.admin_url, "again", "new")

    with psycopg.connect(new) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(old)


def test_several_at_the_same_time_are_all_made(server: PostgresServer) -> None:
    urls: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=number: urls.append(provision_postgres(server.admin_url, f"many{n % 3}", "pw"))
        )
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ANSWER_TIMEOUT_S)

    assert len(urls) == 6


def test_administrator_need_not_be_superuser(secrets: Secrets, server: PostgresServer) -> None:
    """As on a managed server: a role that may make databases and roles."""
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE postgres LOGIN CREATEDB CREATEROLE REPLICATION PASSWORD 'managed'")
        connection.execute("GRANT CONNECT ON DATABASE postgres TO postgres")
    managed = server.admin_url.replace(f"admin:{secrets.get('postgres/admin')}", "postgres:managed")
    provision_postgres(managed, "managed", "pw")
    url = provision_postgres(managed, "managed", "pw")

    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE things (id int)")


def test_lack_of_rights_and_of_a_server_are_told_apart(server: PostgresServer, users: str) -> None:
    with pytest.raises(ConfigurationError, match="denied"):
        provision_postgres(users, "elsewhere", "secret-word")
    with pytest.raises(StoreUnavailable) as caught:
        provision_postgres("postgresql://admin:secret-word@127.0.0.1:1/postgres", "elsewhere", "secret-word")

    assert "secret-word" not in str(caught.value)


def test_log_holds_no_password_and_no_rejected_data(server: PostgresServer, users: str) -> None:
    with psycopg.connect(users) as connection:
        connection.execute("CREATE TABLE unique_emails (email text PRIMARY KEY)")
        connection.execute("INSERT INTO unique_emails VALUES ('ada@example.org')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO unique_emails VALUES ('ada@example.org')")
    log = server.log
    wait_until(lambda: "unique_emails_pkey" in log.read_text(), "the report of the violation")

    assert "ada@example.org" not in log.read_text()
    assert AWKWARD not in log.read_text()
