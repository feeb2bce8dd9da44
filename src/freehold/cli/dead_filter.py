"""Which parked events a command means: its options, read and held to what is up."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.consumer.redrive.choose import Filter

STATES = ("dead", "failed", "behind", "quarantined")
_AGE = re.compile(r"(\d{1,9})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

IDS = Annotated[
    list[str] | None, typer.Argument(help="Ids as the list gives them: orders/users:0:42.", metavar="[ID]...")
]
SERVICE = Annotated[list[str] | None, typer.Option("--service", help="Only of this service; repeatable.")]
SOURCE = Annotated[str, typer.Option("--source", help="Only of the subscription to this service's topic.")]
TYPE = Annotated[str, typer.Option("--type", help="Only of this type: users.UserUpdated, or UserUpdated.")]
KEY = Annotated[str, typer.Option("--key", help="Only of this key; * stands for any text: 'user/4*'.")]
ERROR = Annotated[str, typer.Option("--error", help="Only with this in the error's type or message.")]
OLDER = Annotated[str, typer.Option("--older-than", help="Only parked for at least so long: 90s, 15m, 2h, 1d.")]
NEWER = Annotated[str, typer.Option("--newer-than", help="Only parked for less than so long.")]
STATE = Annotated[
    list[str] | None, typer.Option("--state", help=f"Only those that are {', '.join(STATES)}; repeatable.")
]
ALL = Annotated[bool, typer.Option("--all", help="All that there are; needed without ids and without a filter.")]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the options mean.

    Attributes:
        ids: By service.
        named: The services that were named; all that are up when empty.
        fields: What else the filter holds.
    """

    ids: dict[str, list[str]]
    named: tuple[str, ...]
    fields: dict[str, Any]

    @property
    def is_narrow(self) -> bool:
        """Say whether anything was asked for but all."""
        return bool(self.ids or self.named or self.fields)

    def filter(self, service: str) -> Filter:
        """Give the filter for one service."""
        from freehold.consumer.redrive.choose import Filter, Standing

        fields = dict(self.fields)
        fields["states"] = tuple(Standing(state) for state in fields.pop("states", ()))
        return Filter(ids=tuple(self.ids.get(service, ())), **fields)

    def services(self, reached: Reached) -> list[str]:
        """Give the services that are asked: those named, by themselves or by ids, or all that are up and read a topic.

        Raises:
            ConfigurationError: One is not up, or no service of the system reads such a topic.
        """
        from freehold.errors import ConfigurationError

        reading = {each.name: each.sources() for each in reached.system.services if each.sources()}
        for service in (*self.named, *self.ids):
            reached.peer(service)
            if service not in reading:
                raise ConfigurationError(f"{service} reads no other service's topic, so it never has parked events")
        source = self.fields.get("source")
        if source and not any(source in sources for sources in reading.values()):
            there = ", ".join(sorted({each for sources in reading.values() for each in sources})) or "none"
            raise ConfigurationError(f"no service reads the topic of {source!r}; these are read: {there}")
        chosen = self.ids or self.named or [name for name in reading if name in reached.urls]
        return list(chosen)

    def refuse_all(self, *, what: str, everything: bool) -> None:
        """Refuse to act on all that there is unless it was said; raises ConfigurationError."""
        from freehold.errors import ConfigurationError

        if not self.is_narrow and not everything:
            raise ConfigurationError(f"say what to {what}: ids, a filter such as --error or --type, or --all")
        if everything and self.ids:
            raise ConfigurationError("--all and ids exclude one another")


def wanted(
    ids: Sequence[str],
    service: Sequence[str] | None,
    source: str,
    type_: str,
    key: str,
    error: str,
    older: str,
    newer: str,
    state: Sequence[str] | None,
) -> Wanted:
    """Read the options; raises ConfigurationError for what cannot be read."""
    from freehold.errors import ConfigurationError

    by_service: dict[str, list[str]] = {}
    for text in ids:
        name, event_id = split_id(text)
        if service and name not in service:
            raise ConfigurationError(f"{text} is none of {', '.join(service)}: leave --service out")
        by_service.setdefault(name, []).append(event_id)
    unknown = [each for each in state or () if each not in STATES]
    if unknown:
        raise ConfigurationError(f"--state {unknown[0]}: it is one of {', '.join(STATES)}")
    fields = {
        "source": source,
        "type": type_,
        "key": key,
        "error": error,
        "older_s": read_age(older, "--older-than"),
        "newer_s": read_age(newer, "--newer-than"),
        "states": tuple(state or ()),
    }
    return Wanted(
        by_service, tuple(service or ()), {name: value for name, value in fields.items() if value not in ("", None, ())}
    )


def split_id(text: str) -> tuple[str, str]:
    """Tell the service and its event's id apart; raises ConfigurationError."""
    from freehold.errors import ConfigurationError

    service, separator, event_id = text.partition("/")
    if not (service and separator and event_id):
        raise ConfigurationError(
            f"{text!r} is no id of a parked event; it looks like orders/users:0:42 (freehold dead list)"
        )
    return service, event_id


def read_age(text: str, option: str) -> float | None:
    """Read "90s", "15m", "2h" or "1d" as seconds; None for nothing; raises ConfigurationError."""
    from freehold.errors import ConfigurationError

    if not text:
        return None
    found = _AGE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{option} {text!r}: say how long as 90s, 15m, 2h or 1d")
    return float(int(found[1]) * _SECONDS[found[2]])


def words_of_age(seconds: float) -> str:
    """Say an age in its largest whole unit."""
    for unit in ("d", "h", "m"):
        if seconds >= _SECONDS[unit]:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{int(seconds)}s"
