"""A subscriber in a process of its own, which a test may stop in the midst of a transaction.

Run as `python -m tests.seams.subscriber_process PRODUCT FOLDER` with the settings in the environment. The handler of a user
called "stop" makes `FOLDER/inside` and waits for `FOLDER/go`; the folder's `end` ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

from freehold.runtime.running import RunningService
from freehold.runtime.settings import read_settings
from tests.seams.pair import Named, subscriber

LIMIT_S = 90.0


async def wait_for(path: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if path.exists():  # noqa: ASYNC240 -- a look at a local folder
                return
            await asyncio.sleep(0.01)


async def main(product: str, folder: Path) -> None:
    async def stop_inside(_tx: Any, event: Named) -> None:
        if event.id == "stop" and not (folder / "go").exists():
            (folder / "inside").touch()
            await wait_for(folder / "go")

    running = RunningService(subscriber(product, stop_inside), read_settings(), only="consumers")
    await running.open()
    running.start_events()
    (folder / "started").touch()
    with contextlib.suppress(TimeoutError):
        await wait_for(folder / "end")
    await running.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
