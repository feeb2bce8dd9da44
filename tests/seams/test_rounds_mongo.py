"""MongoDB's rounds."""

from __future__ import annotations

import pytest

from tests.seams.conftest import Database
from tests.seams.on_mongo import OnMongo
from tests.seams.rounds_suite import RoundsSuite


class TestMongoRounds(RoundsSuite):
    product = OnMongo()

    @pytest.fixture
    def url(self, empty_mongo: Database) -> str:
        return empty_mongo.url

    @pytest.fixture
    def service(self, empty_mongo: Database) -> str:
        return empty_mongo.service
