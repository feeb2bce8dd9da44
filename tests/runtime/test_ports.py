"""A port is given to one at a time, also before anybody listens on it."""

from __future__ import annotations

import socket

import pytest

from freehold.errors import ConfigurationError
from freehold.runtime.embedded.ports import LOOPBACK, is_listening, reserve_port


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
    with reserve_port([0]) as port, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, port))
        server.listen()

        assert is_listening(port)
        with reserve_port([port]) as other:
            assert other != port
