"""The running gateway: its application with the edge around it; it has no store and no topic."""

from __future__ import annotations

from typing import Any

from freehold.gateway.remember import Remembering
from freehold.http.edge import Edge, Limits
from freehold.http.read_your_writes import ReadYourWrites
from freehold.runtime.health import Health
from freehold.runtime.lifespan import Lifespan
from freehold.runtime.metrics import Metrics
from freehold.runtime.settings import Settings, default_instance


class RunningGateway:
    """Run the gateway in this process.

    Args:
        gateway: The declaration; `gateway.app(upstreams)` makes its application.
        settings: Where the services are.

    Raises:
        ConfigurationError: An upstream that the gateway needs is not set.
    """

    def __init__(self, gateway: Any, settings: Settings) -> None:
        self.health = Health(gateway.name, settings.instance or default_instance(gateway.name))
        self.metrics = Metrics(gateway.name, self.health)
        key = settings.token_key()
        app = gateway.app(settings.upstreams)
        if key is not None and gateway.remembers == "cookie":
            app = Remembering(app, key)
        self._lifespan = Lifespan(app)
        self.app = Edge(
            app,
            service=gateway.name,
            health=self.health.routes() | self.metrics.routes(),
            limits=Limits(body_bytes=settings.body_bytes_max, answer_s=settings.answer_s_max),
            observe=self.metrics.observe,
            is_ready=lambda: self.health.phase != "starting",
            state=self._lifespan.state,
            memory=ReadYourWrites(key, gateway.name) if key is not None else None,
        )

    async def open(self) -> None:
        """Start the application.

        Raises:
            StartError: It failed, or took too long.
        """
        await self._lifespan.start()
        self.health.phase = "ready"

    def start_events(self) -> None:
        """Do nothing: a gateway ships and applies no events."""

    async def stop(self) -> None:
        """Stop the application."""
        self.health.phase = "stopping"
        await self._lifespan.stop()
