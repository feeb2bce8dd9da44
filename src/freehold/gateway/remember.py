"""Keep what a browser's user has written in a cookie: the token goes to the services as the header that it is.

A cookie is sent by itself and cannot be mended by whoever sends it, so one that says nothing here is cleared and the
request goes on without.
"""

from __future__ import annotations

import time

from freehold.http.exchange import Message, Receive, Scope, Send
from freehold.http.token import LIFE_S, TOKEN_CHARACTERS_MAX, TOKEN_HEADER, BadToken, ForeignToken, TokenKey, merge
from freehold.service import Application

COOKIE = "freehold-written"


class Remembering:
    """An ASGI application, and the cookie around it.

    Args:
        app: The gateway's application.
        key: Signs tokens.
    """

    def __init__(self, app: Application, key: TokenKey) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = _cookie(scope)
        is_good = token is not None and self._is_good(token)
        if token is not None and is_good:
            scope["headers"] = [*scope["headers"], (TOKEN_HEADER, token.encode("ascii"))]
        clears = token is not None and not is_good
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        await self._app(scope, receive, self._telling(send, secure, clears=clears))

    def _is_good(self, token: str) -> bool:
        try:
            self._key.read(token)
        except (BadToken, ForeignToken):
            return False
        return True

    def _telling(self, send: Send, secure: str, *, clears: bool) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                token = self._merged(b",".join(value for name, value in headers if name == TOKEN_HEADER))
                if token or clears:
                    age_s = LIFE_S if token else 0
                    cookie = f"{COOKIE}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}"
                    message = {**message, "headers": [*headers, (b"set-cookie", cookie.encode("ascii"))]}
            await send(message)

        return tell

    def _merged(self, tokens: bytes) -> str:
        """Make one token of what the services gave: a cookie holds one."""
        if not tokens:
            return ""
        try:
            written = self._key.read_all(tokens.decode("latin-1"))
        except BadToken:
            return ""
        kept, _ = merge(written, time.time())
        return self._key.mint(kept) if kept else ""


def _cookie(scope: Scope) -> str | None:
    """Give the token of the request's cookie; None without one."""
    for name, value in scope["headers"]:
        if name != b"cookie" or COOKIE.encode() not in value:
            continue
        pairs: list[str] = value.decode("latin-1").split(";")
        for pair in pairs:
            found, _, token = pair.strip().partition("=")
            if found == COOKIE:
                return token[: TOKEN_CHARACTERS_MAX + 1]
    return None
