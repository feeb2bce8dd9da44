"""How the system is drilled: itself with a subscriber beside it whose handler leaves a trace of every event."""

from freehold import System
from freehold.drill.workload import Effects, Poison, Workload
from systems.database_per_service.gateway.gateway import gateway
from systems.database_per_service.orders.service import orders
from systems.database_per_service.shopper import Shopper
from systems.database_per_service.tallies.service import tallies, trace_of
from systems.database_per_service.users.service import users

system = System(name="database_per_service", services=[users, orders, tallies], gateway=gateway)

workload = Workload(
    system=system,
    visitor=Shopper,
    effects=[
        Effects(
            service="tallies",
            of="users",
            entity="user",
            rows="handled",
            key="user_id",
            order="number",
            shows="trace",
            trace=trace_of,
            tells="tally",
        )
    ],
    poisons=[Poison(service="tallies", entity="user", rows="poison", key="user_id", how="how")],
)
