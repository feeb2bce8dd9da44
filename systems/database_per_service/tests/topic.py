"""What lies on a service's topic, read by a plain Kafka client."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from freehold.topic.address import KafkaAddress
from systems.database_per_service.tests.shop import Shop

POLL_S = 10.0


@dataclasses.dataclass(frozen=True)
class Found:
    """A record, decoded as far as any client can."""

    key: str
    headers: dict[str, bytes]
    value: bytes


async def records_of(shop: Shop, service: str, key: str | None = None) -> list[Found]:
    """Read all records of a topic, or those of one key, in their order."""
    found = await asyncio.to_thread(_read, shop, service)
    return [record for record in found if key is None or record.key == key]


def _read(shop: Shop, service: str) -> list[Found]:
    running = (shop.users if service == "users" else shop.orders).running
    name = running.settings.qualified(service)
    client = Consumer(
        KafkaAddress.parse(running.settings.kafka_url).client_config() | {"group.id": name, "enable.auto.commit": False}
    )
    found: list[Found] = []
    try:
        for partition in client.list_topics(name, timeout=POLL_S).topics[name].partitions:
            _, end = client.get_watermark_offsets(TopicPartition(name, partition), timeout=POLL_S)
            client.assign([TopicPartition(name, partition, OFFSET_BEGINNING)])
            position = 0
            while position < end:
                message = client.poll(POLL_S)
                assert message is not None, f"{name}/{partition} ends at {end}, read up to {position}"
                assert message.error() is None, message.error()
                position = (message.offset() or 0) + 1
                headers: dict[str, Any] = dict(message.headers() or [])
                found.append(Found((message.key() or b"").decode(), headers, message.value() or b""))
    finally:
        client.close()
    return found
