"""MongoDB's store: the suite, and what only MongoDB has."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.on_mongo import OnMongo
from tests.seams.store_suite import StoreSuite


class TestMongoStore(StoreSuite):
    product = OnMongo()

    @pytest.fixture
    def url(self, empty_mongo: Database) -> str:
        return empty_mongo.url

    @pytest.fixture
    def service(self, empty_mongo: Database) -> str:
        return empty_mongo.service
