"""The entities of one kind in their owner's PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from freehold.errors import ConflictError, DeclarationError, MigrationError
from freehold.service import Entity
from freehold.store.owned import OwnedRow, owned_row, whole_number
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction, quote_identifier

_KEY_TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attname = $2 AND attnum > 0 AND NOT attisdropped
"""
_ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)"
_REPAIR = "SELECT nextval('freehold.repairs')"
# How far each kind of whole number reaches: one that is beyond is no key, and asyncpg refuses it.
_WHOLE = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


class PostgresOwned:
    """Read one kind of entity; see `freehold.store.owned.Owned` for what is promised."""

    def __init__(self, store: Postgres, entity: Entity) -> None:
        self._store = store
        self._entity = entity
        self._rows = quote_identifier(entity.rows)
        self._key = quote_identifier(entity.key)
        self._type = ""

    async def count(self) -> int:
        """Estimate how many there are; exactly while PostgreSQL has not analysed them yet."""
        estimate = await self._store.fetchval(_ESTIMATE, self._rows)
        if estimate is not None and estimate > 0:
            return int(estimate)
        return int(await self._store.fetchval(f"SELECT count(*) FROM {self._rows}"))  # noqa: S608 (quoted)

    async def scan(self, after: str | None, limit: int) -> list[OwnedRow]:
        """Read up to `limit` entities behind a cursor; see `Owned.scan`."""
        key_type = await self._key_type()
        behind = "" if after is None else f"WHERE {self._key} > $2::text::{key_type}"
        query = (
            f"SELECT *, {self._key}::text AS freehold_cursor FROM {self._rows} {behind} ORDER BY {self._key} LIMIT $1"  # noqa: S608
        )
        return self._read(await self._store.fetch(query, limit, *([] if after is None else [after])))

    async def find(self, entity_ids: Sequence[str]) -> list[OwnedRow]:
        """Read those of these entities that there are; see `Owned.find`."""
        keys = _keys(entity_ids, await self._key_type())
        return self._read(await self._store.fetch(await self._selection(""), keys)) if keys else []

    async def known(self, entity_ids: Sequence[str]) -> set[str]:
        """Name those of these entities that there are; see `Owned.known`."""
        key_type = await self._key_type()
        keys = _keys(entity_ids, key_type)
        query = f"SELECT {self._key}::text AS id FROM {self._rows} WHERE {self._key} = ANY($1::{key_type}[])"  # noqa: S608
        return {row["id"] for row in await self._store.fetch(query, keys)} if keys else set()

    async def republish(self, entity_ids: Sequence[str]) -> set[str]:
        """Tell once more what these entities are; see `Owned.republish`."""
        keys = _keys(entity_ids, await self._key_type())
        return await self._store.transact(self._republish, keys) if keys else set()

    async def publish_gone(self, entity_ids: Sequence[str]) -> None:
        """Tell that these are gone; see `Owned.publish_gone`."""
        if self._entity.gone is None:
            raise DeclarationError(
                f"Entity in {self._entity.rows}: name the event that says that one is gone: gone=..."
            )
        await self._store.transact(self._publish_gone, list(entity_ids), _keys(entity_ids, await self._key_type()))

    async def moment(self) -> Any:
        """Give the database's time; see `Owned.moment`."""
        return await self._store.fetchval("SELECT clock_timestamp()")

    async def waits(self, moment: Any) -> bool:
        """Say whether a row of the outbox from then or before is still to be shipped; see `Owned.waits`."""
        return bool(
            await self._store.fetchval("SELECT EXISTS (SELECT FROM freehold.outbox WHERE created_at <= $1)", moment)
        )

    async def _republish(self, tx: PostgresTransaction, keys: list[Any]) -> set[str]:
        found = self._read(await tx.fetch(await self._selection("FOR NO KEY UPDATE"), keys))
        repair = await tx.fetchval(_REPAIR)
        for each in found:
            tx.publish_again(each.event, each.version, repair)
        return {each.entity_id for each in found}

    async def _publish_gone(self, tx: PostgresTransaction, entity_ids: list[str], keys: list[Any]) -> None:
        if keys and (there := await tx.fetch(await self._selection(""), keys)):
            raise ConflictError(f"{self._entity.name} {there[0]['freehold_cursor']} is there by now; compare again")
        repair = await tx.fetchval(_REPAIR)
        gone: Any = self._entity.gone
        for entity_id in entity_ids:
            tx.publish_again(gone.of({gone.__key__: entity_id}), 0, repair)

    async def _selection(self, lock: str) -> str:
        key_type = await self._key_type()
        return (
            f"SELECT *, {self._key}::text AS freehold_cursor FROM {self._rows} WHERE {self._key} = ANY($1::{key_type}[])"  # noqa: S608
            f" ORDER BY {self._key} {lock}"
        )

    async def _key_type(self) -> str:
        if not self._type:
            found = await self._store.fetchval(_KEY_TYPE, self._rows, self._entity.key)
            if found is None:
                raise MigrationError(
                    f"Entity {self._entity.name}: there is no column {self._entity.key} in a table {self._entity.rows}; "
                    f"mend the declaration, or write the migration that makes it"
                )
            self._type = found
        return self._type

    def _read(self, rows: Iterable[Any]) -> list[OwnedRow]:
        return [owned_row(self._entity, row, row["freehold_cursor"]) for row in rows]


def _keys(entity_ids: Sequence[str], key_type: str) -> list[Any]:
    """Give the keys that such ids can have; what is no key of that type is no entity of the owner's."""
    if key_type == "uuid":
        return [key for each in entity_ids if (key := _uuid(each)) is not None]
    if key_type in _WHOLE:
        bound = _WHOLE[key_type]
        numbers = [number for each in entity_ids if (number := whole_number(each)) is not None]
        return [number for number in numbers if -bound <= number < bound]
    return list(entity_ids)


def _uuid(text: str) -> UUID | None:
    try:
        key = UUID(text)
    except ValueError:
        return None
    return key if str(key) == text else None
