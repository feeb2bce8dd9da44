"""What every seam suite begins with: a store of the suite's product, open and migrated, in a clean database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.seams.conftest import Database
from tests.seams.on_mongo import OnMongo
from tests.seams.on_postgres import OnPostgres
from tests.seams.product import PUBLISHES, Product


class SeamSuite:
    """Inherit beside `InPostgres` or `InMongo`."""

    product: Product

    @pytest.fixture
    async def store(self, url: str, service: str) -> AsyncIterator[Any]:
        store = self.product.make_store()
        await store.open(url, service=service, publishes=PUBLISHES)
        await store.migrate()
        yield store
        await store.close()


class InPostgres:
    """The file's database in PostgreSQL."""

    product: Product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service


class InMongo:
    """The file's database in MongoDB."""

    product: Product = OnMongo()

    @pytest.fixture
    def url(self, empty_mongo: Database) -> str:
        return empty_mongo.url

    @pytest.fixture
    def service(self, empty_mongo: Database) -> str:
        return empty_mongo.service
