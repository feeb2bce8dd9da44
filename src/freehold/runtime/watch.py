"""Look at the topics of the services that are up: their last events, and each as it comes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

import msgspec

from freehold.errors import EventRejected, FreeholdError
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.cloudevents import decode_record
from freehold.topic.tail import tail

AHEAD_RECORDS_MAX = 1_000


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record as a person or a program is shown it.

    `problem` says why it is no event, and the rest is then empty; `died` why it is a dead letter.
    """

    topic: str
    partition: int
    offset: int
    time: str = ""
    type: str = ""
    key: str = ""
    id: str = ""
    place: str = ""
    schema: int = 0
    traceparent: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    problem: str = ""
    died: str = ""

    def line(self) -> str:
        """Give it as one line."""
        where = f"{self.topic}[{self.partition}]@{self.offset}" + (f"  died of {self.died}" if self.died else "")
        if self.problem:
            return f"{where}  no event: {self.problem}"
        return (
            f"{self.time}  {where}  {self.type}  {self.key}  {self.place}  {bytes(self.data).decode(errors='replace')}"
        )


def watch_topics(addresses: Mapping[str, KafkaAddress], *, last: int, follow: bool) -> Iterator[Seen]:
    """Give the last records of each topic, topic by topic; with `follow` then all that come, as they come.

    Args:
        addresses: By topic, where Kafka is and who may read there.
        last: How many records of each topic.
        follow: Whether to go on for ever.

    Raises:
        TopicUnavailable: Kafka does not answer, or there is no such topic.
        ConfigurationError: Kafka refuses the credentials or the rights.
    """
    if not follow:
        for topic, address in addresses.items():
            yield from map(_seen, tail(address, topic, last=last, follow=False))
        return
    arrivals: queue.Queue[Record | FreeholdError] = queue.Queue(AHEAD_RECORDS_MAX)
    for topic, address in addresses.items():
        threading.Thread(
            target=_follow, args=(address, topic, last, arrivals), name=f"watch {topic}", daemon=True
        ).start()
    while True:
        arrived = arrivals.get()
        if isinstance(arrived, FreeholdError):
            raise arrived
        yield _seen(arrived)


def _follow(address: KafkaAddress, topic: str, last: int, arrivals: queue.Queue[Record | FreeholdError]) -> None:
    try:
        for record in tail(address, topic, last=last, follow=True):
            arrivals.put(record)
    except FreeholdError as error:  # carried to the thread that reads, which raises it
        arrivals.put(error)


def _seen(record: Record) -> Seen:
    died = _died(record)
    try:
        envelope, data = decode_record(record)
    except EventRejected as error:
        return Seen(record.topic, record.partition, record.offset, problem=str(error), died=died)
    place = envelope.place
    return Seen(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        time=envelope.time,
        type=envelope.type,
        key=envelope.key,
        id=envelope.id,
        place=f"{place.epoch}.{place.version}.{place.index}",
        schema=envelope.schema,
        traceparent=envelope.traceparent or "",
        data=msgspec.Raw(data) if _is_json(data) else msgspec.Raw(msgspec.json.encode(data.decode(errors="replace"))),
        died=died,
    )


def _died(record: Record) -> str:
    headers = dict(record.headers)
    told = (headers.get(name) for name in ("freehold-error-type", "freehold-error"))
    return ": ".join(each.decode(errors="replace") for each in told if each)


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    return True
