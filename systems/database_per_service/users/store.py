"""The one database that users owns."""

from pathlib import Path

from freehold import Postgres

store = Postgres(migrations=Path(__file__).parent / "migrations")
