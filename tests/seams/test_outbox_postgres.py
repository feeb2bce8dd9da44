"""PostgreSQL's outbox: the suite, and what only a slot and its transactions can do."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.on_postgres import OnPostgres
from tests.seams.outbox_suite import OutboxSuite


class TestPostgresOutbox(OutboxSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service
