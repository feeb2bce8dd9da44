"""Ports on loopback: the usual one if it is free, else any."""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from freehold.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
ANY_TRIES = 5  # any free port may just be claimed by somebody else


class HeldPort:
    """A server's port, held from its first start until it is stopped for good: also while it is down to be started again.

    Args:
        usual: The port to use if it is free.
        fixed: The port to use, and no other.
    """

    def __init__(self, usual: int, fixed: int | None) -> None:
        self._wanted = fixed or usual
        self._is_fixed = fixed is not None
        self._stack = ExitStack()
        self._is_held = False

    def take(self) -> int:
        """Give the port; after the first time always the same, where whoever knows the server finds it again.

        Raises:
            ConfigurationError: It must be this one, and something else listens on it.
        """
        if not self._is_held:
            self._wanted = self._stack.enter_context(reserve_port([self._wanted], fixed=self._is_fixed))
            self._is_held = self._is_fixed = True
        return self._wanted

    def release(self) -> None:
        """Let others have it; idempotent."""
        self._stack.close()
        self._is_held = False


@contextmanager
def reserve_port(candidates: Sequence[int], *, fixed: bool = False) -> Iterator[int]:
    """Hold a free port until the server that shall listen on it does.

    The socket is bound and does not listen: the server can bind beside it, and nobody is given the port meanwhile
    who asks the system for any free one.

    Args:
        candidates: Ports to try, best first.
        fixed: No other port will do.

    Raises:
        ConfigurationError: No other port will do, and something else listens on it.
    """
    for candidate in candidates if fixed else [*candidates, *[0] * ANY_TRIES]:
        holder = _bind(candidate)
        if holder is None:
            continue
        with holder:
            port = int(holder.getsockname()[1])
            claim = _claim(port)
            if claim is None:
                continue
            with claim:
                yield port
            return
    raise ConfigurationError(
        f"port {', '.join(map(str, candidates))} on {LOOPBACK} is taken by another process; free it or choose another"
    )


def is_listening(port: int) -> bool:
    """Tell whether something accepts connections on this port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _bind(port: int) -> socket.socket | None:
    if port and is_listening(port):
        return None
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A connection of the server before may linger in TIME_WAIT; that is no reason to change the port.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((LOOPBACK, port))
    except OSError:
        holder.close()
        return None
    return holder


def _claim(port: int) -> socket.socket | None:
    """Claim the port among those who reserve one: the option above lets two of them bind the same port."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":  # a name without a file, gone with its holder, exists there only
            claim.bind(f"\0freehold/port/{port}")
    except OSError:
        claim.close()
        return None
    return claim
