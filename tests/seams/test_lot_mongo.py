"""MongoDB's lot."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.lot_suite import LotSuite
from tests.seams.on_mongo import OnMongo


class TestMongoLot(LotSuite):
    product = OnMongo()

    @pytest.fixture
    def url(self, empty_mongo: Database) -> str:
        return empty_mongo.url

    @pytest.fixture
    def service(self, empty_mongo: Database) -> str:
        return empty_mongo.service
