"""The one door: it passes requests on to services, and makes one answer of several of theirs.

- `route`: what is declared, and where an address leads; pure.
- `compose`: ask the parts at the same time, answer within the deadline, name what is missing.
- `forward`: pass a request on as it is.
- `upstream`: one service as the gateway reaches it.
- `door`: the ASGI application made of these.

Identity, limits and cache have their place between `door` and the other two.
"""

from freehold.gateway.route import Composition, Forward, Gateway, Part

__all__ = ["Composition", "Forward", "Gateway", "Part"]
