"""Clean databases for the seam suites: the servers are the session's, a database is the test's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from freehold.runtime.provision.drop import drop_postgres
from freehold.runtime.provision.postgres import provision_postgres
from freehold.testing import Servers


@pytest.fixture
def service() -> str:
    """Name the test's own service, and with it its database, role and slot."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def postgres_url(freehold_servers: Servers, service: str) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database with a role of its own."""
    admin_url = freehold_servers.admin_url("postgres")
    yield provision_postgres(admin_url, service, secrets.token_urlsafe())
    drop_postgres(admin_url, service)
