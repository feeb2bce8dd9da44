"""PostgreSQL's rounds."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.on_postgres import OnPostgres
from tests.seams.rounds_suite import RoundsSuite


class TestPostgresRounds(RoundsSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service
