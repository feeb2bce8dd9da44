"""A lean HTTP/1.1 load generator, so that two shared cores are spent on what is measured and not on measuring it.

Raw asyncio protocols on uvloop: each connection sends its next request when the last one was answered (closed loop), or
when its time has come (open loop, latency counted from the planned time, so that a stall is not left out).
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator

ANSWER_TIMEOUT_S = 30.0


@dataclasses.dataclass
class Outcome:
    """What a run saw: answers by status, seconds it took, and each answer's latency in seconds."""

    statuses: dict[int, int]
    elapsed_s: float
    latencies_s: list[float]

    @property
    def per_second(self) -> float:
        """Count the answered requests per second."""
        return sum(self.statuses.values()) / self.elapsed_s


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request in flight; answers need a Content-Length."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        mark = head.find(b"content-length:")
        length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        self._buffer = b""
        assert self._answered is not None
        self._answered.set_result(int(head[9:12]))

    async def ask(self, request: bytes) -> int:
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """Write a request once, to be sent as it is."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def closed_loop(port: int, requests: Iterator[bytes], *, clients: int, seconds: float) -> Outcome:
    """Let each client send its next request as soon as its last one was answered."""
    outcome = Outcome({}, 0.0, [])
    stop_at = time.perf_counter() + seconds

    async def client() -> None:
        connection = await _connect(port)
        try:
            while (started := time.perf_counter()) < stop_at:
                status = await connection.ask(next(requests))
                outcome.latencies_s.append(time.perf_counter() - started)
                outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
        finally:
            connection.close()

    started = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*(client() for _ in range(clients))), seconds + ANSWER_TIMEOUT_S)
    outcome.elapsed_s = time.perf_counter() - started
    return outcome


async def open_loop(port: int, requests: Iterator[bytes], *, per_second: float, seconds: float) -> Outcome:
    """Send at a steady rate, whether or not earlier requests were answered; at most 64 connections."""
    outcome = Outcome({}, 0.0, [])
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(64):
        free.put_nowait(await _connect(port))
    started = time.perf_counter()

    async def send(planned: float) -> None:
        connection = await free.get()
        status = await connection.ask(next(requests))
        free.put_nowait(connection)
        outcome.latencies_s.append(time.perf_counter() - planned)
        outcome.statuses[status] = outcome.statuses.get(status, 0) + 1

    tasks = []
    for number in range(int(per_second * seconds)):
        planned = started + number / per_second
        await _until(time.perf_counter, planned)
        tasks.append(asyncio.create_task(send(planned)))
    await asyncio.wait_for(asyncio.gather(*tasks), ANSWER_TIMEOUT_S)
    outcome.elapsed_s = time.perf_counter() - started
    while not free.empty():
        free.get_nowait().close()
    return outcome


async def _until(clock: Callable[[], float], moment: float) -> None:
    if (wait_s := moment - clock()) > 0:
        await asyncio.sleep(wait_s)


async def _connect(port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return connection


def quantile(values: list[float], share: float) -> float:
    """Give the value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
