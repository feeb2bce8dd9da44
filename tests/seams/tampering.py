"""Tamper with copies behind Freehold's back, by seed: what was done, and what an audit must therefore say."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from freehold.converge.judge import Kind
from freehold.service import Service
from tests.seams.audited import FIELDS, JOINED, everything

# Where, the entity, the own document that embeds it, and how it differs.
Expected = set[tuple[str, str, str, Kind]]


class Tampering:
    """Changes copies of one subscriber.

    Attributes:
        expected: What an audit must find.
        touched: By table, the keys of the rows that were tampered with.
    """

    def __init__(self, service: Service, chance: random.Random) -> None:
        self._service = service
        self._store = service.store
        self._chance = chance
        self.expected: Expected = set()
        self.touched: dict[str, set[Any]] = {"customers": set(), "orders": set()}

    async def tamper(self, count: int) -> None:
        """Tamper with so many copies, and as many orders; each once."""
        rows = await everything(self._service)
        # Of somebody who was told gone and never was there is nothing to tamper with.
        copies = sorted(key for key, row in rows["customers"].items() if row["version"] > 0)
        orders = sorted(key for key, row in rows["orders"].items() if _embedded(row)["id"] is not None)
        for entity_id in self._chance.sample(copies, count):
            await self._tamper_copy(entity_id, rows["customers"][entity_id])
        for order_id in self._chance.sample(orders, count):
            await self._tamper_order(order_id, _embedded(rows["orders"][order_id]))
        for number in range(count // 4):
            await self._add(f"nobody{number}.{self._chance.getrandbits(48)}", rows["customers"][copies[0]])

    async def _tamper_copy(self, entity_id: str, row: Mapping[str, Any]) -> None:
        self.touched["customers"].add(entity_id)
        kind = self._chance.choice(list(Kind))
        if kind in {Kind.MISSING, Kind.LEFT_OVER}:
            kind = Kind.MISSING
            await self._delete(entity_id)
        else:
            await self._write("customers", entity_id, "", self._change(kind, row))
        self.expected.add(("customers", entity_id, "", _said(kind, row)))

    async def _tamper_order(self, order_id: Any, embedded: Mapping[str, Any]) -> None:
        self.touched["orders"].add(order_id)
        kind = self._chance.choice([Kind.STALE, Kind.AHEAD, Kind.CONTENT])
        await self._write("orders", order_id, "customer", self._change(kind, embedded))
        self.expected.add(("orders.customer", embedded["id"], str(order_id), _said(kind, embedded)))

    def _change(self, kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
        if kind is Kind.CONTENT:
            if row["deleted"]:
                return {"name": "who is back"}
            return self._chance.choice(
                [
                    {"name": "e\u0301"},
                    {"email": "x@example.org"},
                    {"credit": -1},
                    {"score": 1e-9},
                    {"joined_at": JOINED - timedelta(milliseconds=1)},
                    {"tags": ["new", ""]},
                    {"deleted": True},
                ]
            )
        versions = self._chance.choice([1, 5, 1_000])
        if kind is Kind.AHEAD:
            return {"version": row["version"] + versions, "name": "from the future"}
        return {"version": self._chance.randrange(0, row["version"]), "index": 7, "name": "of old"}

    async def _add(self, entity_id: str, like: Mapping[str, Any]) -> None:
        self.touched["customers"].add(entity_id)
        self.expected.add(("customers", entity_id, "", Kind.LEFT_OVER))
        if self._store.kind == "postgres":
            row = {**like, "id": entity_id, "deleted": False, "version": 3}
            names = ", ".join(row)
            values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            await self._store.pool.execute(f"INSERT INTO customers ({names}) VALUES ({values})", *row.values())
        else:
            await self._store["customers"].insert_one({**copy.deepcopy(dict(like)), "_id": entity_id, "deleted": False})

    async def _delete(self, entity_id: str) -> None:
        if self._store.kind == "postgres":
            await self._store.pool.execute("DELETE FROM customers WHERE id = $1", entity_id)
        else:
            await self._store["customers"].delete_one({"_id": entity_id})

    async def _write(self, table: str, key: Any, prefix: str, change: Mapping[str, Any]) -> None:
        if self._store.kind == "postgres":
            values = [json.dumps(value) if name == "tags" else value for name, value in change.items()]
            names = [f"{prefix}_{name}" if prefix else name for name in change]
            changes = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, start=2))
            done = await self._store.pool.execute(f"UPDATE {table} SET {changes} WHERE id = $1", key, *values)
            assert done == "UPDATE 1"
        else:
            fields = {f"{prefix}.{name}" if prefix else name: value for name, value in change.items()}
            await self._store[table].update_one({"_id": key}, {"$set": fields})


def _said(kind: Kind, row: Mapping[str, Any]) -> Kind:
    """Of somebody who is gone whatever is left there is left over."""
    return Kind.LEFT_OVER if kind is Kind.CONTENT and row["deleted"] else kind


def _embedded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if "customer" in row:
        return dict(row["customer"])
    return {name: row[f"customer_{name}"] for name in ("id", *FIELDS, "version", "index", "deleted")}


def plain(row: Mapping[str, Any]) -> bytes:
    """Give all bytes of a row that mean anything; a guard is what transactions meet at."""
    return repr([(name, value) for name, value in row.items() if name != "guard"]).encode()
