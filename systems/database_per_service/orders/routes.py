"""The HTTP side of orders."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from freehold.http.api import Api
from freehold.http.cursor import decode_cursor, encode_cursor, parse_limit
from freehold.http.operation import Answer, Operation, Parameter, Request
from freehold.identifier import new_id
from systems.database_per_service.orders import orders
from systems.database_per_service.orders.order import UUID, NewOrder, Order, OrderPage, Step, order_etag, show
from systems.database_per_service.orders.placing import AlreadyPlaced, read_placing, replayed_order_id
from systems.database_per_service.orders.store import store

PAGE_ORDERS = 20
PAGE_ORDERS_MAX = 100

_LIMIT = Annotated[int, msgspec.Meta(ge=1, le=PAGE_ORDERS_MAX)]


async def _place(request: Request) -> Answer:
    placing = read_placing(request.header(b"idempotency-key"), request.body)
    if placing is None:
        return _placed(await store.transact(orders.place, new_id(), request.body, None), is_replayed=False)
    try:
        return _placed(await store.transact(orders.place, new_id(), request.body, placing), is_replayed=False)
    except AlreadyPlaced:
        order_id = await replayed_order_id(store, placing)
        return _placed(await orders.read(store, order_id), is_replayed=True)


async def _list(request: Request) -> Answer:
    user_id = request.id("user_id")
    limit = parse_limit(request.query.get("limit"), usual=PAGE_ORDERS, most=PAGE_ORDERS_MAX)
    cursor = request.query.get("cursor")
    scope = f"orders of users/{user_id}"
    after = None if cursor is None else decode_cursor(scope, cursor, tuple[datetime, str])
    found = await orders.page(store, user_id, after, limit + 1)
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = encode_cursor(scope, (last["placed_at"], last["_id"]))
    return Answer(body=OrderPage([show(document) for document in found[:limit]], following))


async def _read(request: Request) -> Answer:
    return _answer(await orders.read(store, request.id()))


async def _move(request: Request) -> Answer:
    if_match = request.header(b"if-match")
    return _answer(await store.transact(orders.move, request.id(), request.body.status, if_match))


def _placed(document: dict[str, Any], *, is_replayed: bool) -> Answer:
    headers = [(b"location", f"/orders/{document['_id']}".encode())]
    if is_replayed:
        headers.append((b"idempotent-replayed", b"true"))
    return Answer(status=201, body=show(document), etag=order_etag(document), headers=headers)


def _answer(document: dict[str, Any]) -> Answer:
    return Answer(body=show(document), etag=order_etag(document))


_UNKNOWN = {404: "There is no such order."}

app = Api(
    title="orders",
    operations=[
        Operation(
            "POST",
            "/orders",
            _place,
            id="placeOrder",
            summary="Place an order",
            body=NewOrder,
            answers={201: Order},
            problems={
                409: "The customer is not known here yet (then with Retry-After), or was deleted.",
                422: "The body does not fit, or the Idempotency-Key was used for another order.",
            },
            parameters=[
                Parameter(
                    "Idempotency-Key",
                    "header",
                    str,
                    "The same key within 24 hours is the same order, answered with `Idempotent-Replayed: true`.",
                )
            ],
        ),
        Operation(
            "GET",
            "/orders",
            _list,
            id="listOrders",
            summary="List a user's orders, newest first",
            answers={200: OrderPage},
            parameters=[
                Parameter("user_id", "query", UUID, "Whose orders.", required=True),
                Parameter("limit", "query", _LIMIT, f"Most orders to answer; {PAGE_ORDERS} unless given."),
                Parameter("cursor", "query", str, "`next` of the page before."),
            ],
        ),
        Operation(
            "GET",
            "/orders/{id}",
            _read,
            id="readOrder",
            summary="Read an order",
            answers={200: Order, 304: None},
            problems=_UNKNOWN,
            parameters=[Parameter("If-None-Match", "header", str, "304 if all is still as this ETag says.")],
        ),
        Operation(
            "PATCH",
            "/orders/{id}",
            _move,
            id="moveOrder",
            summary="Take an order a step on: placed, paid, shipped, delivered; or cancelled until it is shipped",
            body=Step,
            answers={200: Order},
            problems=_UNKNOWN
            | {
                409: "It cannot become this from what it is.",
                412: "The order itself is not as If-Match says; what happened to its customer does not matter.",
            },
            parameters=[Parameter("If-Match", "header", str, "Only if the order itself is as this ETag says.")],
        ),
    ],
)
