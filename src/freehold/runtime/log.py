"""Logs: one JSON object a line with the trace's ids, or coloured lines on a terminal; never a secret.

Everything logs through the standard library. On a terminal structlog renders it; JSON is written here, since importing
structlog (and Rich with it) would take a third of a service's start.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from freehold.discreet import traceback_of
from freehold.runtime.settings import hide_password
from freehold.telemetry import current_traceparent

_HIDDEN = "***"
_SECRET_NAMES = re.compile(r"pass(word|wd)?|secret|token|authorization|cookie|api_?key|credential", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}|\b((?:sasl\.)?password|secret|token)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"
)
# Chatty at levels where nobody needs them: each poll, each connection of a pool.
_QUIET = {"uvicorn.error": logging.WARNING, "pymongo": logging.WARNING, "asyncio": logging.WARNING}
# What every record has; whatever else is there was given by `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def set_up_logs(*, service: str, level: str, stream: TextIO | None = None) -> None:
    """Let this process log to `stream` (standard error), in the form that fits it."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_console(service) if target.isatty() else JsonFormatter(service, quotes=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if level != "debug":
        for name, quiet in _QUIET.items():
            logging.getLogger(name).setLevel(quiet)


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object; with `quotes` also the words of foreign errors, which may quote data."""

    def __init__(self, service: str, *, quotes: bool = False) -> None:
        super().__init__()
        self._service = service
        # Logs outlive an erasure, and the words of a foreign error may quote a row. Who debugs asks for them.
        self._tell = print_exception if quotes else traceback_of

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        event: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "event": record.getMessage(),
        }
        event.update(_trace_ids())
        event.update({name: value for name, value in record.__dict__.items() if name not in _STANDARD})
        if record.exc_info and record.exc_info[1] is not None:
            event["exception"] = self._tell(record.exc_info[1])
        return msgspec.json.encode(hide_secrets(None, "", event), enc_hook=repr).decode()


def print_exception(error: BaseException) -> str:
    """Give an exception as Python prints it, words and all."""
    return "".join(traceback.format_exception(error)).rstrip()


def hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what is secret by its name or by its form; a structlog processor."""
    for name, value in event.items():
        if name != "exc_info" and _SECRET_NAMES.search(name):
            event[name] = _HIDDEN
        elif isinstance(value, str):
            event[name] = hide_in_text(value)
    return event


def hide_in_text(text: str) -> str:
    """Hide passwords in URLs, authorization values and `password=...` in a text."""
    return _SECRET_TEXT.sub(_hide_match, hide_password(text))


def _hide_match(match: re.Match[str]) -> str:
    return f"{match[1]} {_HIDDEN}" if match[1] else f"{match[2]}{match[3]}{_HIDDEN}"


def _trace_ids() -> dict[str, str]:
    traceparent = current_traceparent()
    if traceparent is None:
        return {}
    return {"trace_id": traceparent[3:35], "span_id": traceparent[36:52]}


def _console(service: str) -> logging.Formatter:
    import structlog

    def name_it(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        event.update(_trace_ids())
        return event

    before: list[structlog.typing.Processor] = [
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    after: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        name_it,
        hide_secrets,
        # A traceback with the values of local variables would show secrets.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after)
