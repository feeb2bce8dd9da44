"""Kafka's protocol by hand, as far as to ask a listener something with or without a password.

Kafka's own clients do not talk to a controller's listener, and would hide whether it answers strangers.
"""

import socket
import struct
from types import TracebackType

from freehold.runtime.embedded.ports import LOOPBACK

TIMEOUT_S = 10.0
SASL_HANDSHAKE = 17
SASL_AUTHENTICATE = 36
DESCRIBE_CONFIGS = 32
BROKER_RESOURCE = 4


class Wire:
    """One connection to one listener."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), TIMEOUT_S)
        self._count = 0

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def login(self, user: str, password: str) -> int:
        """Log in by SASL PLAIN, and give the server's error code."""
        answer = self._ask(SASL_HANDSHAKE, 1, _text("PLAIN"))
        error = int.from_bytes(answer[:2], "big")
        if error:
            return error
        token = f"\0{user}\0{password}".encode()
        answer = self._ask(SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        return int.from_bytes(answer[:2], "big")

    def describe_configs(self) -> int:
        """Ask for the node's settings, and give the server's error code for them."""
        resource = struct.pack(">ib", 1, BROKER_RESOURCE) + _text("1") + struct.pack(">i", -1)
        answer = self._ask(DESCRIBE_CONFIGS, 1, resource + b"\0")
        # throttle time, number of results, error code of the first
        return int(struct.unpack(">iih", answer[:10])[2])

    def _ask(self, key: int, version: int, body: bytes) -> bytes:
        self._count += 1
        message = struct.pack(">hhi", key, version, self._count) + _text("test") + body
        self._socket.sendall(struct.pack(">i", len(message)) + message)
        size = struct.unpack(">i", self._receive(4))[0]
        return self._receive(size)[4:]

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = self._socket.recv(size - len(received))
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            received += piece
        return received


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
