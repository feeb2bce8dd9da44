"""A service's own PostgreSQL database and role."""

from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from freehold.errors import ConfigurationError, StoreUnavailable

CONNECT_TIMEOUT_S = 10
PROVISION_LOCK = (
    4_711_001  # one at a time: two that change the same rights at once fail with "tuple concurrently updated"
)
SHARED_DATABASES = ("postgres", "template1")


def provision_postgres(admin_url: str, service: str, password: str) -> str:
    """Give a service its own database and role, both of the service's name. Doing it again changes nothing else.

    Args:
        admin_url: Where and as whom to do it; needs CREATEDB, CREATEROLE and REPLICATION, or a superuser.
        service: The name of service, database and role.
        password: The role's password; sent as a SCRAM verifier, so that no log can show it.

    Returns:
        The service's own URL; it holds the password.

    Raises:
        StoreUnavailable: The server does not answer.
        ConfigurationError: The server refused; the message says what and why.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [PROVISION_LOCK])
            _make_role(connection, service, password)
            _make_database(connection, service)
            _close_databases(connection, service)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"PostgreSQL did not answer while making the database {service}: {error}") from error
    except psycopg.Error as error:
        raise ConfigurationError(f"PostgreSQL refused to make the database {service}: {error}") from error
    return _format_url(admin_url, service, password)


def _make_role(connection: psycopg.Connection, service: str, password: str) -> None:
    verifier = connection.pgconn.encrypt_password(password.encode(), service.encode(), b"scram-sha-256").decode()
    found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [service]).fetchone() is not None
    statement = (
        "ALTER ROLE {} LOGIN REPLICATION PASSWORD {}" if found else "CREATE ROLE {} LOGIN REPLICATION PASSWORD {}"
    )
    connection.execute(sql.SQL(statement).format(sql.Identifier(service), sql.Literal(verifier)))


def _make_database(connection: psycopg.Connection, service: str) -> None:
    """Make the database and hand it over; an administrator who is no superuser must belong to the new owner for that."""
    is_there = connection.execute("SELECT FROM pg_database WHERE datname = %s", [service]).fetchone() is not None
    is_superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (
        True,
    )
    if not is_superuser:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(service)))
    statement = "ALTER DATABASE {} OWNER TO {}" if is_there else "CREATE DATABASE {} OWNER {}"
    connection.execute(sql.SQL(statement).format(sql.Identifier(service), sql.Identifier(service)))


def _close_databases(connection: psycopg.Connection, service: str) -> None:
    """Take from everybody what PostgreSQL gives to everybody: the right to connect."""
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(service)))
    for database in SHARED_DATABASES:
        is_ours = connection.execute(
            "SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        if is_ours == (True,):
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def _format_url(admin_url: str, service: str, password: str) -> str:
    """Give the administrator's URL with the service's name, password and database in it."""
    parts = urlsplit(admin_url)
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(
            netloc=f"{quote(service, safe='')}:{quote(password, safe='')}@{hosts}", path=f"/{quote(service, safe='')}"
        )
    )
