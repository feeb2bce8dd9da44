"""Write a service's demo data: the service's own function, with its own store, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

from freehold.errors import DeclarationError
from freehold.runtime.settings import Settings
from freehold.service import Service


async def write_demo(service: Service, settings: Settings, progress: Callable[[int, int], None]) -> None:
    """Write the demo data of a service; what it publishes is shipped by the relay of the service that runs.

    Args:
        service: The declaration.
        settings: Its store and credentials.
        progress: Called with how much is done and how much there is.

    Raises:
        DeclarationError: The service has no demo data.
        StoreUnavailable: Its store does not answer.
    """
    if service.demo is None:
        raise DeclarationError(f"{service.name} declares no demo data: Service(..., demo=...)")
    store = service.store
    url = settings.required("store_url")
    await store.open(url, service=service.name, publishes=tuple(service.publishes))
    try:
        await store.migrate()
        await service.demo(progress)
    finally:
        await store.close()
