"""PostgreSQL's lot."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.lot_suite import LotSuite
from tests.seams.on_postgres import OnPostgres


class TestPostgresLot(LotSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service
