"""The gateway as an ASGI application. The edge around it traces, bounds and turns errors into problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.gateway.compose import compose
from freehold.gateway.forward import Receive, Send, forward
from freehold.gateway.route import Composition, Forward, Gateway, Table
from freehold.gateway.upstream import Upstreams
from freehold.http.problem import Problem
from freehold.http.token import TOKEN_HEADER


class Door:
    """Answer requests as a gateway declares it.

    Args:
        gateway: The declaration.
        urls: Base URL of each service, by name.

    Raises:
        ConfigurationError: One is missing, or no http URL.
    """

    def __init__(self, gateway: Gateway, urls: Mapping[str, str]) -> None:
        self._table = Table(gateway)
        self._upstreams = Upstreams(gateway.upstreams(), urls)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        found = self._table.find(scope["path"], scope["raw_path"])
        if found is None:
            raise Problem(404, "there is nothing at this address", type="not-found")
        if isinstance(found, Forward):
            scope["path_template"] = f"{found.prefix}/*"
            await forward(self._upstreams, found.to, scope, receive, send)
        else:
            scope["path_template"] = found[0].path
            await self._compose(*found, scope, send)

    async def close(self) -> None:
        """Close the connections to the services; idempotent."""
        await self._upstreams.close()

    async def _compose(self, composition: Composition, names: Mapping[str, str], scope: Any, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(405, "here one can GET, HEAD", headers={"Allow": "GET, HEAD"})
        composed = await compose(self._upstreams, composition, names, scope)
        headers = [
            (b"content-type", composed.content_type),
            (b"content-length", b"%d" % len(composed.body)),
            # It is put together of answers that each may change, and may lack a part: nobody should keep it.
            (b"cache-control", b"no-store"),
        ]
        if composed.tokens:
            headers.append((TOKEN_HEADER, composed.tokens.encode("latin-1")))
        await send({"type": "http.response.start", "status": composed.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else composed.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
