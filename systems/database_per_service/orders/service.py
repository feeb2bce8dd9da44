"""The service `orders`: it owns the orders, and keeps a copy of each customer beside and inside them."""

from pathlib import Path

from freehold import Entity, Replica, Service
from systems.database_per_service.orders.demo import write_demo
from systems.database_per_service.orders.events import Customer, OrderPlaced, OrderUpdated
from systems.database_per_service.orders.routes import app
from systems.database_per_service.orders.store import store

orders = Service(
    name="orders",
    store=store,
    app=app,
    publishes=[OrderPlaced, OrderUpdated],
    owns=[Entity(state=OrderUpdated, rows="orders")],
    replicates=[Replica(Customer, of="users", entity="user", into="customers", embedded_in={"orders": "customer"})],
    contracts=Path(__file__).parent / "contracts",
    demo=write_demo,
)
