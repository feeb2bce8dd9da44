"""Run Freehold with a bug planted in it, to see that a drill finds it: `python -m freehold.drill.planted BUG[,BUG] drill ...`.

Nothing that runs in production reads any of this: a planted process is started as this module, plants the bugs in its
own memory, and goes on as `freehold` would; the processes that it starts are started the same way.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

from freehold.drill import stage
from freehold.errors import ConfigurationError
from freehold.runtime.supervisor import child

# Wide enough for a kill to fall into, which it would otherwise only do now and then.
WINDOW_S = 0.15


def position_outside_the_transaction() -> None:
    """Move a PostgreSQL subscriber's position by itself, before its effects are committed."""
    from freehold.consumer.postgres import PostgresLedger

    broken: Any = PostgresLedger
    advance = PostgresLedger.advance

    async def moved_alone(self: PostgresLedger, _tx: Any, claim: Any, offset: int) -> Any:
        moved = await self._store.transact(lambda tx: advance(self, tx, claim, offset))
        await asyncio.sleep(WINDOW_S)
        return moved

    broken.advance = moved_alone


def guard_of_handlers_removed() -> None:
    """Let a PostgreSQL subscriber's handlers run again for what took effect already."""
    from freehold.consumer.postgres import PostgresLedger

    broken: Any = PostgresLedger

    async def nothing(_self: Any, _tx: Any, _source: str, _keys: Any) -> dict[str, Any]:
        return {}

    broken.applied = nothing


def guard_of_copies_removed() -> None:
    """Let any state replace a copy in MongoDB, an older one too."""
    from freehold.replica import mongo

    broken: Any = mongo

    def replace(state: Any) -> list[dict[str, Any]]:
        copy = {"_id": state.entity_id} | broken._copy(state)
        return [{"$replaceWith": {"$literal": copy}}]

    broken._replace = replace


def row_deleted_before_the_acknowledgement() -> None:
    """Let a relay delete what it is about to send."""
    from freehold.outbox.relay import Relay

    broken: Any = Relay
    ship = Relay._ship

    def deleted_first(self: Relay, rows: list[Any], position: Any) -> None:
        self._source.acknowledge(rows, position)
        time.sleep(WINDOW_S)
        ship(self, rows, position)

    broken._ship = deleted_first


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        position_outside_the_transaction,
        guard_of_handlers_removed,
        guard_of_copies_removed,
        row_deleted_before_the_acknowledgement,
    )
}


def main() -> None:
    """Plant the bugs that the first argument names, and be `freehold` with the others."""
    names = sys.argv[1] if len(sys.argv) > 1 else ""
    unknown = set(names.split(",")) - BUGS.keys()
    if unknown:
        raise ConfigurationError(f"there is no bug {', '.join(sorted(unknown))!r}; there is {', '.join(BUGS)}")
    for name in names.split(","):
        BUGS[name]()
    stage.PROGRAM = ("-m", __spec__.name, names)
    child.PROGRAM = (sys.executable, *stage.PROGRAM)
    sys.argv = ["freehold", *sys.argv[2:]]
    runpy.run_module("freehold", run_name="__main__")


if __name__ == "__main__":
    main()
