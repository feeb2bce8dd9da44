"""Reach the internal routes of the services that are up here, as the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from freehold.cli.output import here
from freehold.errors import ConfigurationError
from freehold.http.internal import OPERATOR
from freehold.http.peer import Peer, peer_url

if TYPE_CHECKING:
    from freehold.service import System


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
            raise ConfigurationError(f"{service} is not up here; these services are: {up} (freehold status)")
        return Peer(service, self.urls[service])


def reach() -> Reached:
    """Find the system that is up here.

    Raises:
        ConfigurationError: Nothing is up.
    """
    from freehold.runtime.load import load_system
    from freehold.runtime.supervisor.report import read_state

    place = here()
    state = read_state(place)
    running = [each for each in state.processes if each.role == "service" and each.pid and each.url] if state else []
    if state is None or not running:
        raise ConfigurationError("nothing is up here; start a system: freehold up SYSTEM")
    urls = {each.name: peer_url(each.url or "", OPERATOR, place.internal_key(each.name)) for each in running}
    return Reached(load_system(state.target), urls)
