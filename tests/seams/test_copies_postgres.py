"""PostgreSQL's copies: the suite, and what only PostgreSQL has."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.copies_suite import CopiesSuite
from tests.seams.on_postgres import OnPostgres


class TestPostgresCopies(CopiesSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service
