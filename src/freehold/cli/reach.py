"""Reach the internal routes of services, as the operator: of those that the environment names, else of those up here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from freehold.cli.output import here
from freehold.errors import ConfigurationError
from freehold.http.internal import OPERATOR
from freehold.http.peer import Peer, peer_url

if TYPE_CHECKING:
    from freehold.service import System

T = TypeVar("T")


class Reached:
    """A system that is up: its declaration, and its services by name.

    Attributes:
        system: As it was declared when it was started.
        urls: By service, its base URL with the operator's credential; never shown.
    """

    def __init__(self, system: System, urls: Mapping[str, str]) -> None:
        self.system = system
        self.urls = dict(urls)

    def peer(self, service: str) -> Peer:
        """Give a service.

        Raises:
            ConfigurationError: It is not up.
        """
        if service not in self.urls:
            up = ", ".join(self.urls) or "none"
            raise ConfigurationError(f"{service} is not up here; these services are: {up}")
        return Peer(service, self.urls[service])

    def ask(self, service: str, path: str, body: Any, answer: type[T]) -> T:
        """Ask a service one thing, over a connection of its own; raises as `peer` and `Peer.ask` do."""
        peer = self.peer(service)
        try:
            return peer.ask(path, body, answer)
        finally:
            peer.close()


def reach() -> Reached:
    """Find the services that an operator's commands act on.

    These are the ones that `FREEHOLD_UPSTREAM_<SERVICE>` names, of the system that `FREEHOLD_SYSTEM` names; without either
    the system that is up in the current directory.

    Raises:
        ConfigurationError: Nothing is up, or only one of the two is set.
    """
    from freehold.runtime.load import load_system
    from freehold.runtime.settings import SYSTEM, read_settings

    urls, source = read_settings().upstreams, os.environ.get(SYSTEM, "")
    if not urls and not source:
        return _reach_here()
    if not source:
        raise ConfigurationError(f"{SYSTEM} is not set: it takes the system whose services FREEHOLD_UPSTREAM_... name")
    if not urls:
        raise ConfigurationError(
            f"{SYSTEM} is set, and no service: FREEHOLD_UPSTREAM_<SERVICE> takes http://{OPERATOR}:CREDENTIAL@host:port; "
            f"`freehold config credential {OPERATOR}` makes the credential, with that service's FREEHOLD_INTERNAL_KEY"
        )
    return Reached(load_system(source), urls)


def _reach_here() -> Reached:
    from freehold.runtime.load import load_system
    from freehold.runtime.supervisor.report import read_state

    place = here()
    state = read_state(place)
    running = [each for each in state.processes if each.role == "service" and each.pid and each.url] if state else []
    if state is None or not running:
        raise ConfigurationError("nothing is up here; start a system: freehold up SYSTEM")
    urls = {each.name: peer_url(each.url or "", OPERATOR, place.internal_key(each.name)) for each in running}
    return Reached(load_system(state.target), urls)
