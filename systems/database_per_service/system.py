"""Microservices that each own a database: users on PostgreSQL, orders on MongoDB, events between them, one gateway."""

from pathlib import Path

from freehold import System
from systems.database_per_service.cast import user_id
from systems.database_per_service.gateway.gateway import gateway
from systems.database_per_service.orders.service import orders
from systems.database_per_service.scenarios import SCENARIOS
from systems.database_per_service.users.service import users

_ADA = user_id(0)
_CHANGE = '{"name": "Ada King", "email": "ada@example.org"}'

system = System(
    name="database_per_service",
    services=[users, orders],
    gateway=gateway,
    diagram=Path(__file__).parent / "system.fz",
    # What the diagram's words do not say: which function's transaction it is.
    bindings={
        "Users / Change in one transaction": "commit change",
        "Users / Delete, and keep the version": "commit delete",
        "Orders / Place an order": "commit place",
    },
    scenarios=SCENARIOS,
    curl=[
        f"curl -s {{gateway}}/users/{_ADA}/overview",
        f"curl -s -X PUT {{gateway}}/users/{_ADA} -H 'Content-Type: application/json' -d '{_CHANGE}'",
        f"curl -s '{{gateway}}/orders?user_id={_ADA}&limit=1'",
    ],
)
