"""An application's own start and stop: one that fails to start fails its service, one that has no lifespan does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from freehold.errors import StartError
from freehold.runtime.lifespan import Lifespan
from freehold.service import Service
from tests.seams.pair import make_store

Apply = Callable[..., Awaitable[None]]


def app_that(run: Apply) -> Any:
    """Make an application whose lifespan is `run(receive, send)`."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await run(receive, send)

    return app


async def crash(receive: Any, _send: Any) -> None:
    await receive()
    raise ZeroDivisionError("no pool for the cache")


async def refuse(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no cache"})


async def know_none(_receive: Any, _send: Any) -> None:
    raise AssertionError("only http is known here")


async def return_at_once(_receive: Any, _send: Any) -> None:
    return


async def live(receive: Any, send: Any) -> None:
    for what in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{what}"
        await send({"type": f"lifespan.{what}.complete"})


@pytest.mark.parametrize(
    ("run", "words"),
    [(crash, "ZeroDivisionError: no pool for the cache"), (refuse, "no cache")],
    ids=["crash", "refuse"],
)
async def test_application_that_fails_to_start_is_a_start_error(run: Apply, words: str) -> None:
    lifespan = Lifespan(app_that(run))

    with pytest.raises(StartError, match=words):
        await lifespan.start()
    await lifespan.stop()


@pytest.mark.parametrize("run", [know_none, return_at_once, live])
async def test_application_with_or_without_a_lifespan_starts(run: Apply) -> None:
    lifespan = Lifespan(app_that(run))

    await lifespan.start()
    await lifespan.stop()


@pytest.mark.services
async def test_service_whose_application_crashes_does_not_start(freehold_service: Any) -> None:
    with pytest.raises(StartError, match="no pool for the cache"):
        async with freehold_service(Service(name="cached", store=make_store("mongo"), app=app_that(crash))):
            pass
