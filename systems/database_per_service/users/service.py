"""The service `users`: it owns people's names and email addresses and tells others of every change."""

from pathlib import Path

from freehold import Entity, Service
from systems.database_per_service.users.demo import write_demo
from systems.database_per_service.users.events import UserCreated, UserDeleted, UserUpdated
from systems.database_per_service.users.routes import app
from systems.database_per_service.users.store import store

users = Service(
    name="users",
    store=store,
    app=app,
    publishes=[UserCreated, UserUpdated, UserDeleted],
    owns=[Entity(state=UserUpdated, rows="users", deleted="deleted_at", gone=UserDeleted)],
    contracts=Path(__file__).parent / "contracts",
    demo=write_demo,
)
