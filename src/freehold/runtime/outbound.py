"""See whom a traced process talks to, by whatever library: each connection that it opens is a span.

Freehold's own ways (store, topic, gateway) say more by themselves; this is for all others. A connection that is kept is
seen once, by its first use; and only those that Python makes, not those of a C library (libpq, librdkafka):
for psycopg there is a wrapper here.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import sys
from typing import Any

import uvloop

from freehold.telemetry import may_write, write_connection

# Connections to the own store's server are opened all the time; what is done over them, its driver tells.
_PORT = re.compile(r":(\d+)")
_own_ports: set[int] = set()


class ObservedLoop(uvloop.Loop):
    """An event loop that writes a span for each connection that is opened through it."""

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Open a connection, and say so."""
        made: Any = await super().create_connection(*args, **kwargs)
        transport = made[0]
        if may_write():
            peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            if isinstance(peer, tuple) and isinstance(own, tuple):
                _tell(peer[0], peer[1], own[1])
        return made


def observe_connections(service: str, store_url: str) -> None:
    """Watch the drivers and the sockets of this process; once, before it opens any connection.

    Args:
        service: Whose process this is.
        store_url: The store that is its own.
    """
    _own_ports.update(int(port) for port in _PORT.findall(store_url.partition("?")[0].rpartition("@")[2]))
    with contextlib.suppress(ImportError):
        from freehold.store.postgres_spans import observe_asyncpg

        observe_asyncpg(service, store_url)
    with contextlib.suppress(ImportError):
        from freehold.store.mongo_spans import observe_pymongo

        observe_pymongo(service, store_url)
    with contextlib.suppress(ImportError):
        _observe_psycopg()
    sys.addaudithook(_hear)


def _tell(host: str, port: int, own_port: int = 0) -> None:
    if port not in _own_ports:
        write_connection(host, port, own_port)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Hear of the connections that blocking code opens; the event loop's are told with both their ends."""
    if event == "socket.connect" and may_write():
        connecting, address = arguments
        is_inet = connecting.family in {socket.AF_INET, socket.AF_INET6}
        if is_inet and connecting.gettimeout() != 0.0 and isinstance(address, tuple):
            _tell(str(address[0]), int(address[1]))


def _observe_psycopg() -> None:
    import psycopg

    connect = psycopg.Connection.connect.__func__  # type: ignore[attr-defined]
    connect_async = psycopg.AsyncConnection.connect.__func__  # type: ignore[attr-defined]

    def connected(kind: Any, *args: Any, **kwargs: Any) -> Any:
        return _told(connect(kind, *args, **kwargs))

    async def connected_async(kind: Any, *args: Any, **kwargs: Any) -> Any:
        return _told(await connect_async(kind, *args, **kwargs))

    psycopg.Connection.connect = classmethod(functools.wraps(connect)(connected))  # type: ignore[method-assign,assignment]
    psycopg.AsyncConnection.connect = classmethod(functools.wraps(connect_async)(connected_async))  # type: ignore[method-assign,assignment]
    psycopg.connect = psycopg.Connection.connect


def _told(connection: Any) -> Any:
    if may_write():
        _tell(connection.info.host, connection.info.port)
    return connection
