"""The rounds of both products."""

from __future__ import annotations

from tests.seams.rounds_suite import RoundsSuite
from tests.seams.suite import InMongo, InPostgres


class TestPostgresRounds(InPostgres, RoundsSuite):
    """PostgreSQL's."""


class TestMongoRounds(InMongo, RoundsSuite):
    """MongoDB's."""
