"""A process that writes documents in a MongoDB transaction and then stands still, to be killed or stopped by a test.

python -m tests.seams.hold_mongo SERVICE COLLECTION ID    (the URL in FREEHOLD_STORE_URL)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from freehold.store.mongo import Mongo

ROOT = Path(__file__).parents[2]
HELD = b"held\n"
LIMIT_S = 30.0


async def hold(service: str, collection: str, document_id: str) -> None:
    store = Mongo()
    await store.open(os.environ["FREEHOLD_STORE_URL"], service=service, publishes=())

    async def write(tx: Any) -> None:
        await tx[collection].update_one({"_id": document_id}, {"$set": {"held": True}}, upsert=True)
        print(HELD.decode(), end="", flush=True)
        await asyncio.Event().wait()

    await store.transact(write)


@contextlib.asynccontextmanager
async def holder(
    url: str, service: str, collection: str, document_id: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start such a process, and give it when it holds the document; it is killed at the end at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __spec__.name if __spec__ else __name__,
        service,
        collection,
        document_id,
        env={**os.environ, "FREEHOLD_STORE_URL": url},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), LIMIT_S) == HELD
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        # What it left open would hold up the next test's clean database until the server's own limit.
        store = Mongo()
        await store.open(url, service=service, publishes=())
        await store.close()


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
