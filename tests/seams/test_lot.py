"""The lot of both products."""

from __future__ import annotations

from tests.seams.lot_suite import LotSuite
from tests.seams.suite import InMongo, InPostgres


class TestPostgresLot(InPostgres, LotSuite):
    """PostgreSQL's."""


class TestMongoLot(InMongo, LotSuite):
    """MongoDB's."""
