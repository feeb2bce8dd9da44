"""PostgreSQL's outbox: the suite, and what only a slot and its transactions can do."""

from __future__ import annotations

import pytest

from tests.seams.on_postgres import OnPostgres
from tests.seams.outbox_suite import OutboxSuite


class TestPostgresOutbox(OutboxSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
