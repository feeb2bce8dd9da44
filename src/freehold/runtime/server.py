"""The HTTP server inside a process: uvicorn on httptools, with the bounds that it leaves open.

What reaches the edge is bounded there. Before that a client can send headers without end, or none at all, or what is no
HTTP: a request's head has a limit of bytes and of time, and what is refused here is problem+json too.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from freehold.http.problem import MEDIA_TYPE, Problem
from freehold.service import Application

# Line and headers together; other servers allow 8 to 64 KiB.
HEAD_BYTES_MAX = 65_536
# From the connection, or the first byte of a request, to the end of its headers.
HEAD_S_MAX = 20.0
# uvicorn ticks ten times a second.
_TICKS_BETWEEN_LOOKS = 10
# A keep-alive connection of the gateway's pool must outlive its pauses.
KEEP_ALIVE_S = 75
# Requests in flight may end within this when the process is told to stop.
DRAIN_S = 1


class Server(uvicorn.Server):
    """Answer HTTP in the running event loop until `should_exit`; signals are the process's own matter."""

    def __init__(self, app: Application, *, head_s_max: float = HEAD_S_MAX) -> None:
        self._head_s_max = head_s_max
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # What a caller says of its address is believed by nobody behind it.
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Close, once a second, the connections whose request does not come."""
        if counter % _TICKS_BETWEEN_LOOKS == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.close_if_slow(self._head_s_max)
        return await super().on_tick(counter)


class BoundedProtocol(HttpToolsProtocol):
    """One connection, with a bound on each request's head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_began: float | None = None
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._head_began = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Take what came, and refuse a head that goes on for too long."""
        super().data_received(data)
        if self._head_began is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(Problem(431, f"line and headers together may have {HEAD_BYTES_MAX:,} bytes"))

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_began = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self._head_began = None
        super().on_headers_complete()

    def close_if_slow(self, head_s_max: float) -> None:
        """Close the connection if its request's head is not there in time."""
        if self._head_began is not None and self.loop.time() - self._head_began > head_s_max:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; called by uvicorn."""
        self._refuse(Problem(400, msg, type="malformed-http"))

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        body = problem.body(instance="", trace_id=secrets.token_hex(16))
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
