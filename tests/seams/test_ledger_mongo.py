"""MongoDB's ledger: the suite, and what only MongoDB has."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.ledger_suite import LedgerSuite
from tests.seams.on_mongo import OnMongo


class TestMongoLedger(LedgerSuite):
    product = OnMongo()

    @pytest.fixture
    def url(self, empty_mongo: Database) -> str:
        return empty_mongo.url

    @pytest.fixture
    def service(self, empty_mongo: Database) -> str:
        return empty_mongo.service
