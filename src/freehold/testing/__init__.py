"""Pytest fixtures: the real servers once a session, and for each test a service with a clean database of its own.

    async def test_a_new_name_reaches_orders(freehold_service):
        async with freehold_service(users) as u, freehold_service(orders) as o:
            await u.client.post("/users", json={...})
            await u.settled()
            assert (await o.client.get("/orders?user_id=...")).json()[...] == ...

The servers are embedded unless `FREEHOLD_POSTGRES_URL`, `FREEHOLD_MONGO_URL` or `FREEHOLD_KAFKA_URL` names the user's own;
only those that a test's services need are started. The services of one test share a namespace, which stands before the
names of databases, topics and groups, and is dropped after the test: event types and everything else stay as they are.
"""

from __future__ import annotations

import importlib
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from freehold.testing.scene import Scene, TestedService
from freehold.testing.servers import Servers

if TYPE_CHECKING:
    from freehold.testing.process import ServiceProcess

__all__ = ["SEED_VARIABLE", "Scene", "Servers", "TestedService"]

SEED_VARIABLE = "FREEHOLD_TEST_SEED"
_USED_IN_THREADS = (
    "embedded.kafka",
    "embedded.mongo",
    "embedded.postgres",
    "parts",
    "process",
    "provision.drop",
    "provision.kafka",
    "provision.mongo",
    "provision.postgres",
    "running",
)


@pytest.fixture(scope="session")
def freehold_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Give the session's servers; nothing is started before it is needed."""
    # Imported here, in one thread: pytest rewrites our modules as they are imported, and Python 3.11's parser fails now
    # and then when two threads do that at once.
    for name in _USED_IN_THREADS:
        importlib.import_module(f"freehold.runtime.{name}")
    servers = Servers(tmp_path_factory.mktemp("freehold"))
    yield servers
    servers.stop()


@pytest.fixture
def freehold_scene(freehold_servers: Servers) -> Iterator[Scene]:
    """Give the test's own scene: its services share its namespace, which is dropped after the test."""
    scene = Scene(freehold_servers, f"t{secrets.token_hex(4)}")
    yield scene
    scene.drop()


@pytest.fixture
def freehold_service(freehold_scene: Scene) -> Callable[..., AbstractAsyncContextManager[TestedService]]:
    """Give what runs a service in this test on a clean database; see the top of this file."""
    return freehold_scene.run


@pytest.fixture
def freehold_process(freehold_scene: Scene) -> Callable[..., AbstractAsyncContextManager[ServiceProcess]]:
    """Give what runs a service in a process of its own, which can crash at a commit, stand still and come back.

    `async with freehold_process(service, instance="orders-1") as process:`; see `freehold.testing.process`.
    """
    from freehold.testing.process import run_process

    return partial(run_process, freehold_scene)


@pytest.fixture
def freehold_chance() -> random.Random:
    """Give chance with a seed that is told when the test fails; FREEHOLD_TEST_SEED plays it again."""
    seed = os.environ.get(SEED_VARIABLE) or str(secrets.randbelow(10**9))
    sys.stdout.write(f"chance is seeded: play it again with {SEED_VARIABLE}={seed}\n")
    return random.Random(seed)  # noqa: S311 - the same again is the point
