"""What the gateway passes on, and the one answer that it makes of two services."""

from freehold import Composition, Forward, Gateway, Part

gateway = Gateway(
    name="gateway",
    routes=[
        Forward("/users", to="users"),
        Forward("/orders", to="orders"),
    ],
    compositions=[
        Composition(
            "/users/{id}/overview",
            parts={
                "user": Part("users", "/users/{id}", is_subject=True),
                "orders": Part("orders", "/orders?user_id={id}&limit=20"),
            },
            deadline_s=1.0,
        ),
    ],
)
