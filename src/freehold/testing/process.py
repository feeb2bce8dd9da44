"""A service in a process of its own, in a test's scene: it can crash at a commit, stand still, come back, or have a double.

async def test_each_payment_is_booked_once(freehold_scene, freehold_process):
    async with freehold_scene.run(payments) as source, freehold_process(bookings) as process:
        await process.restart(crash_at=CrashPoint.HANDLER_BEFORE_COMMIT)
        await source.client.post("/payments", json={...})
        await process.crashed()
        await process.restart()
        await process.settled()
        assert await process.differences(BOOKED, source) == []
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.drill.compare import compare_handled
from freehold.drill.holdings import Unreadable, open_holdings
from freehold.drill.observed import Handled
from freehold.drill.stage import end_process
from freehold.drill.tail import Tail
from freehold.drill.workload import Effects
from freehold.errors import DeclarationError
from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.runtime.supervisor.child import is_ready, last_lines
from freehold.service import Service
from freehold.testing.crash import CrashPoint
from freehold.topic.address import KafkaAddress

if TYPE_CHECKING:
    from freehold.testing import Scene, TestedService

READY_S = 60.0
CRASHED_S = 60.0
SETTLED_S = 60.0
POLL_S = 0.02
PRODUCED_S = 20.0


class ServiceProcess:
    """One process of a service; made by the fixture `freehold_process`.

    Attributes:
        url: Where it answers HTTP, also after a restart.
    """

    def __init__(self, scene: Scene, service: Service, instance: str) -> None:
        self.service = service
        self._scene = scene
        self._instance = instance
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.mkdtemp(prefix="freehold-process-")) / f"{instance}.log"
        with reserve_port([0]) as port:
            self._port = port
        self.url = f"http://{LOOPBACK}:{port}"
        self._store_url, self._kafka_url = scene.provision(service)

    async def restart(self, *, crash_at: CrashPoint | None = None, count: int = 1) -> None:
        """Start it, or start it anew, and return when it is ready.

        Args:
            crash_at: Where it ends as by kill -9, while it works.
            count: When it comes there for the so-manieth time.

        Raises:
            AssertionError: It did not become ready; the end of its log is told. One that crashed before that is no failure.
        """
        await asyncio.to_thread(self.stop)
        await asyncio.to_thread(self._start, crash_at, count)
        await self._until(
            "is ready", lambda: is_ready(self._port) or (crash_at is not None and self._code() == -9), READY_S
        )

    async def crashed(self, limit_s: float = CRASHED_S) -> None:
        """Wait until it has crashed where it was to.

        Raises:
            AssertionError: It did not, or it ended otherwise.
        """
        await self._until("has crashed", lambda: self._code() is not None, limit_s)
        assert self._code() == -signal.SIGKILL, f"{self._instance} ended with {self._code()}; {last_lines(self._log)}"

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let it stand still while the block runs: it holds what it has open, and comes back as if nothing had been."""
        assert self._process is not None, f"{self._instance} was not started"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def settled(self, limit_s: float = SETTLED_S) -> None:
        """Wait until its outbox is empty, and it has applied all that the scene's services published.

        Raises:
            AssertionError: Not within `limit_s`; says what is missing.
        """
        await self._scene.settled(limit_s)
        limit = time.monotonic() + limit_s
        while unmet := await asyncio.to_thread(self._unmet):
            assert time.monotonic() < limit, f"{self._instance} not settled after {limit_s:g} s: {unmet}"
            await asyncio.sleep(POLL_S)

    async def differences(self, effects: Effects, source: TestedService) -> list[str]:
        """Hold what its handler left behind to the source's topic: each event once, in the order of its entity.

        Args:
            effects: What the handler leaves behind.
            source: Whose events it handles.
        """
        return await asyncio.to_thread(self._differences, effects, source)

    def stop(self) -> None:
        """End it, if it is there."""
        if self._process is not None:
            end_process(self._process)
            self._process = None

    def _start(self, crash_at: CrashPoint | None, count: int) -> None:
        crash = ["freehold.testing.crash", crash_at.value, str(count)] if crash_at else ["freehold"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *crash, "run", locate(self.service)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FREEHOLD_", "PYTEST_"))}
        return kept | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "FREEHOLD_STORE_URL": self._store_url,
            "FREEHOLD_KAFKA_URL": self._kafka_url,
            "FREEHOLD_NAMESPACE": self._scene.namespace,
            "FREEHOLD_HOST": LOOPBACK,
            "FREEHOLD_PORT": str(self._port),
            "FREEHOLD_INSTANCE": self._instance,
        }

    def _code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def _unmet(self) -> str:
        holdings = open_holdings(self.service, self._store_url)
        try:
            rows = len(holdings.waiting()) if self.service.publishes else 0
            words = [f"{rows} rows wait in its outbox"] if rows else []
            for each in self._scene.services:
                if each.service.name in self.service.sources():
                    applied, ends = holdings.positions(each.service.name), topic_ends(each)
                    behind = sum(end - applied.get(partition, 0) for partition, end in ends.items())
                    words += [f"{behind} events of {each.service.name} are not applied"] if behind else []
        except Unreadable as error:
            return f"its store does not answer: {error}"
        finally:
            holdings.close()
        return ", ".join(words)

    def _differences(self, effects: Effects, source: TestedService) -> list[str]:
        holdings = open_holdings(self.service, self._store_url)
        topic = source.running.settings.qualified(source.service.name)
        try:
            traces = holdings.traces(effects)
        finally:
            holdings.close()
        with following(self._scene, source) as tail:
            records = tail.records(topic, effects.entity)
        handled = Handled(f"{effects.service}/{effects.rows}", effects.entity, traces, effects.trace)
        return [str(each) for each in compare_handled(records, handled)]

    async def _until(self, what: str, is_met: Callable[[], bool], limit_s: float) -> None:
        limit = time.monotonic() + limit_s
        while not is_met():
            has_ended = what == "is ready" and self._code() is not None
            assert not has_ended, f"{self._instance} ended with {self._code()}; {last_lines(self._log)}"
            assert time.monotonic() < limit, (
                f"not within {limit_s:g} s: {self._instance} {what}; {last_lines(self._log)}"
            )
            await asyncio.sleep(POLL_S)


@contextlib.asynccontextmanager
async def run_process(scene: Scene, service: Service, *, instance: str = "") -> AsyncIterator[ServiceProcess]:
    """Run a service in a process of its own; it is ready when the block begins, and ended at its end."""
    process = ServiceProcess(scene, service, instance or f"{service.name}-1")
    try:
        await process.restart()
        yield process
    finally:
        await asyncio.to_thread(process.stop)


def repeat(scene: Scene, source: TestedService) -> int:
    """Put the source's last records on its topic once more, byte for byte, as a relay may; gives how many.

    Blocks: call it in a thread (`asyncio.to_thread`).
    """
    from confluent_kafka import Producer

    with following(scene, source) as tail:
        messages = tail.raw()
    producer = Producer(_admin_config(scene) | {"log_level": "0"})
    for each in messages:
        producer.produce(each.topic(), each.value(), each.key(), each.partition(), headers=each.headers())
    left = producer.flush(PRODUCED_S)
    assert left == 0, f"{left} records could not be repeated within {PRODUCED_S:g} s"
    return len(messages)


@contextlib.contextmanager
def following(scene: Scene, source: TestedService) -> Iterator[Tail]:
    """Read the source's topic to where it ends now."""
    topic = source.running.settings.qualified(source.service.name)
    with Tail(_admin_config(scene), [topic]) as tail:
        ends, limit = tail.ends(topic), time.monotonic() + SETTLED_S
        while unread := tail.unread(topic, ends):
            assert time.monotonic() < limit, f"{unread} records of {topic} could not be read within {SETTLED_S:g} s"
            time.sleep(POLL_S)
        yield tail


def topic_ends(source: TestedService) -> dict[int, int]:
    """Give the end of each partition of a source's topic that has records."""
    topics, name = source.running.topics, source.running.settings.qualified(source.service.name)
    partitions = range(topics.identify(name).partition_count)
    return {partition: end for partition, (start, end) in topics.extents(name, partitions).items() if end > start}


def locate(service: Service) -> str:
    """Say where another process finds a service: "module:attribute" of a module that is imported here.

    Raises:
        DeclarationError: No module has it.
    """
    for name, module in list(sys.modules.items()):
        for attribute, value in list(vars(module).items()) if module is not None else ():
            if value is service and name != "__main__":
                return f"{name}:{attribute}"
    raise DeclarationError(f"{service.name} is in no module, so no process can load it; give it a name in one")


def _admin_config(scene: Scene) -> dict[str, Any]:
    return dict(KafkaAddress.parse(scene.servers.admin_url("kafka")).client_config())
