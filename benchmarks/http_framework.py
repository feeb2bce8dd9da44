"""What a framework costs per request: the same small PUT on uvicorn (uvloop, httptools), on four applications.

Run `python -m benchmarks.http_framework`. Each server is a process of its own; the figure is requests per CPU second of
that process, so the load generator beside it does not enter. Source of decision 7.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import litestar
import msgspec
import uvicorn
import uvloop

CLIENTS = 16
RUNS = 3
RUN_S = 4.0
WARM_S = 1.0
BODY = b'{"name":"Ada Lovelace","email":"ada@example.org"}'


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the PUT."""

    name: str
    email: str


class User(msgspec.Struct):
    """The answer to it."""

    id: str
    name: str
    email: str
    version: int


_decode = msgspec.json.Decoder(Change).decode
_encode = msgspec.json.Encoder().encode


def litestar_app() -> Any:
    """Make the route the way Litestar's documentation does."""

    @litestar.put("/users/{user_id:str}", sync_to_thread=False)
    def rename(user_id: str, data: Change) -> litestar.Response[User]:
        user = User(user_id, data.name, data.email, 1)
        return litestar.Response(user, headers={"etag": '"1"'})

    return litestar.Litestar([rename])


def starlette_app() -> Any:
    """Make the route with Starlette and msgspec by hand."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def rename(request: Request) -> Response:
        data = _decode(await request.body())
        user = User(request.path_params["user_id"], data.name, data.email, 1)
        return Response(_encode(user), media_type="application/json", headers={"etag": '"1"'})

    return Starlette(routes=[Route("/users/{user_id}", rename, methods=["PUT"])])


def freehold_app() -> Any:
    """Make the route as the reference system does: all its checks, and Freehold's edge around it."""
    from freehold.http.api import Api
    from freehold.http.edge import Edge
    from freehold.http.operation import Answer, Operation, Request

    async def rename(request: Request) -> Answer:
        return Answer(body=User(request.id(), request.body.name, request.body.email, 1), etag='"1"')

    operation = Operation(
        "PUT", "/users/{id}", rename, id="changeUser", summary="Change a user", body=Change, answers={200: User}
    )
    return Edge(Api(title="users", operations=[operation]), service="users")


def bare_app() -> Any:
    """Make the route on ASGI itself: the limit of any framework."""

    async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            return
        data = _decode((await receive())["body"])
        body = _encode(User(scope["path"].rpartition("/")[2], data.name, data.email, 1))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"etag", b'"1"')]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def serve(name: str, port: int) -> None:
    """Serve one of the three until ended."""
    app = {"litestar": litestar_app, "starlette": starlette_app, "freehold": freehold_app, "bare": bare_app}[name]()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False, lifespan="off")


class Client(asyncio.Protocol):
    """Ask again as soon as an answer has come, on one connection."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.count = 0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = transport
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count the answer when its body's end has come, and ask again."""
        if data.startswith(b"HTTP/1.1") and data[9:12] != b"200":
            raise RuntimeError(f"unexpected answer: {data[:200]!r}")
        if data.endswith(b"}"):
            self.count += 1
            self.transport.write(self.request)


def cpu_s(pid: int) -> float:
    """Read the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(pid: int, port: int) -> dict[str, float]:
    """Load one server and give requests per second and per CPU second."""
    head = f"PUT /users/018f3c5e-7a10-7cc4-9d3a-5b1f0e2d4c6b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Client(head.encode() + BODY), "127.0.0.1", port) for _ in range(CLIENTS)
    ]
    clients = [client for _, client in pairs]
    await asyncio.sleep(WARM_S)
    began, cpu, count = time.perf_counter(), cpu_s(pid), sum(client.count for client in clients)
    await asyncio.sleep(RUN_S)
    seconds, used = time.perf_counter() - began, cpu_s(pid) - cpu
    answers = sum(client.count for client in clients) - count
    for transport, _ in pairs:
        transport.abort()
    return {"per_s": answers / seconds, "per_cpu_s": answers / used}


async def reachable(port: int) -> None:
    """Wait until the port answers, at most ten seconds."""
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing answers on port {port}")


def run(name: str, port: int) -> Iterable[dict[str, float]]:
    """Measure one framework RUNS times."""
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(name, port), daemon=True)
    process.start()
    assert process.pid is not None
    try:
        uvloop.run(reachable(port))
        for _ in range(RUNS):
            yield uvloop.run(measure(process.pid, port))
    finally:
        process.terminate()
        process.join(10)


if __name__ == "__main__":
    print(json.dumps({"machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()}))
    for index, name in enumerate(["bare", "freehold", "starlette", "litestar"]):
        results = list(run(name, 18500 + index))
        each = [result["per_cpu_s"] for result in results]
        rates = [result["per_s"] for result in results]
        print(
            f"{name:10} {statistics.median(rates):8.0f} /s   per CPU second {statistics.median(each):8.0f}"
            f"  ({min(each):.0f} to {max(each):.0f})"
        )
