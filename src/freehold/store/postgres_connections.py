"""The connections of one process to its PostgreSQL store: few, kept open, and handed out without a round trip.

asyncpg's own pool asks the server to reset a session each time one comes back, and costs a task and a timer on the way:
about a third of a small transaction's CPU time here (decision 6). Transactions of Freehold end themselves, so nothing is
left to reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import asyncpg

# Another transaction was in the way: running this one again can succeed. A cached plan that a migration made
# invalid is of that kind too.
CONFLICTS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,
)
# The connection is gone, or the server will not have it.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    OSError,
    TimeoutError,
)
# asyncpg itself will not use the connection; nothing was sent.
UNUSABLE = (asyncpg.InterfaceError, asyncpg.InternalClientError)
REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InvalidNameError)

# "BEGIN" as a simple query, and its whole answer: CommandComplete, then ReadyForQuery in a transaction.
# Source: PostgreSQL manual, "Message Formats".
_BEGIN = b"Q\x00\x00\x00\x0aBEGIN\x00"
_ANSWER = b"C\x00\x00\x00\x0aBEGIN\x00Z\x00\x00\x00\x05T"
_COMMAND_COMPLETE = ord("C")
_READY = ord("Z")
_ERROR = ord("E")
_HEADER_BYTES = 5


class OwnConnection(asyncpg.Connection):
    """A connection whose transactions are Freehold's."""

    def transaction(self, **_: Any) -> NoReturn:
        """Refuse asyncpg's own transactions: one is open already, and a second BEGIN would end with the first COMMIT."""
        raise asyncpg.InterfaceError(
            "this connection is in a transaction of Freehold's already; for a part of it use execute('SAVEPOINT name')"
        )


class Connections:
    """Hands out open connections, the last used first; at most `count_max` at once, the others wait in line."""

    def __init__(self, connect: Callable[[], Awaitable[OwnConnection]], count_max: int) -> None:
        self._connect = connect
        self._free_count = count_max
        self._idle: list[Session] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    async def acquire(self, timeout_s: float) -> Session:
        """Give a connection; give it back by `release`.

        Raises:
            TimeoutError: All were in use for `timeout_s`.
            Exception: What asyncpg raises when it cannot connect.
        """
        if self._free_count > 0:
            self._free_count -= 1
        else:
            await self._wait(timeout_s)
        while self._idle:
            session = self._idle.pop()
            if not session.connection.is_closed():
                return session
        try:
            return Session(await self._connect())
        except BaseException:
            self._pass_on()
            raise

    def release(self, session: Session) -> None:
        """Take a connection back that is in no transaction, or is broken."""
        if self._is_closed:
            session.connection.terminate()
        elif not session.connection.is_closed():
            self._idle.append(session)
        self._pass_on()

    async def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for session in idle:
            await session.connection.close()

    def terminate(self) -> None:
        """Drop what is idle without a word to the server."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().connection.terminate()

    async def _wait(self, timeout_s: float) -> None:
        """Wait for somebody else's place; it is handed over, so nobody can take it in between."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                self._waiting.remove(turn)
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free_count += 1


class Session:
    """A connection, and BEGIN sent ahead of its next statement: the two travel together and cost one round trip.

    asyncpg cannot send two commands at once, so BEGIN goes to the transport directly and its answer is taken out of what
    comes back before asyncpg sees it.
    """

    def __init__(self, connection: OwnConnection) -> None:
        self.connection = connection
        # asyncpg has no public name for these two; a version that lacks them fails here, in every test.
        self._transport: Any = connection._transport  # type: ignore[attr-defined]
        self._answers = _Answers(connection._protocol)  # type: ignore[attr-defined]
        self._transport.set_protocol(self._answers)

    def is_gone(self, error: Exception) -> bool:
        """Say whether that error means that the connection is gone."""
        if isinstance(error, asyncpg.InternalClientError):
            # The server's farewell was received, and the end of the connection is still on its way.
            self.connection.terminate()
        return self.connection.is_closed()

    def begin(self) -> None:
        """Send BEGIN; the next statement must follow at once, or a ROLLBACK."""
        if not self._transport.is_closing():
            self._answers.expects_begin = True
            self._transport.write(_BEGIN)


class _Answers(asyncio.Protocol):
    """Stands between the transport and asyncpg, and keeps the answer to BEGIN to itself."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._receive = protocol.data_received
        self._held = b""
        self.expects_begin = False

    def data_received(self, data: bytes) -> None:
        if self.expects_begin:
            data = self._without_begin(self._held + data)
        if data:
            self._receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def eof_received(self) -> bool | None:
        kept_open: bool | None = self._protocol.eof_received()
        return kept_open

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def _without_begin(self, data: bytes) -> bytes:
        """Give what is not the answer to BEGIN; keep an unfinished message until the rest of it comes."""
        self._held = b""
        if data.startswith(_ANSWER):
            self.expects_begin = False
            return data[len(_ANSWER) :]
        # Anything may come in between: a notice, a setting that was reloaded, the server's farewell.
        passed = b""
        while len(data) >= _HEADER_BYTES:
            kind, end = data[0], 1 + int.from_bytes(data[1:_HEADER_BYTES], "big")
            if len(data) < end:
                break
            message, data = data[:end], data[end:]
            if kind in (_READY, _ERROR):
                self.expects_begin = False
                return passed + (message if kind == _ERROR else b"") + data
            if kind != _COMMAND_COMPLETE:
                passed += message
        self._held = data
        return passed
