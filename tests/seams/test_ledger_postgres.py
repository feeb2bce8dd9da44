"""PostgreSQL's ledger: the suite, and what only PostgreSQL has."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.ledger_suite import LedgerSuite
from tests.seams.on_postgres import OnPostgres


class TestPostgresLedger(LedgerSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service
