"""A port is given to one at a time, also before anybody listens on it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from freehold.errors import ConfigurationError
from freehold.runtime.embedded.ports import LOOPBACK, HeldPort, is_listening, reserve_port


def test_two_who_start_at_once_are_given_different_ports() -> None:
    """Neither listens yet: both could bind the same port, and the later to listen would fail."""
    with reserve_port([0]) as usual:
        pass
    with reserve_port([usual]) as first, reserve_port([usual]) as second:
        assert first == usual
        assert second != usual


def test_a_port_that_must_be_had_and_is_promised_to_another_is_refused() -> None:
    with (
        reserve_port([0]) as port,
        pytest.raises(ConfigurationError, match=str(port)),
        reserve_port([port], fixed=True),
    ):
        pass


def test_a_port_is_free_again_after_its_reservation() -> None:
    with reserve_port([0]) as port:
        pass
    with reserve_port([port], fixed=True) as again:
        assert again == port


def test_whoever_reserved_a_port_can_listen_on_it_and_others_are_given_another() -> None:
    with reserve_port([0]) as port, serving(port):
        assert is_listening(port)
        with reserve_port([port]) as other:
            assert other != port


def test_a_held_port_stays_while_its_server_is_down() -> None:
    """A server that was killed is started again where it was, whatever others were started meanwhile."""
    with reserve_port([0]) as usual:
        pass
    held = HeldPort(usual, None)
    try:
        port = held.take()
        with serving(port), reserve_port([port]) as other:
            assert other != port
        with reserve_port([port]) as other:
            assert other != port
        assert held.take() == port
        with serving(port):
            assert is_listening(port)
    finally:
        held.release()

    with reserve_port([port], fixed=True) as again:
        assert again == port


@contextmanager
def serving(port: int) -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, port))
        server.listen()
        yield
