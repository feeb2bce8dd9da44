"""Logs: one JSON object a line with the trace's ids, or coloured lines on a terminal; never a secret.

Everything logs through the standard library; structlog renders it, the libraries' own lines (uvicorn, PyMongo) too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from opentelemetry import trace

from freehold.runtime.settings import hide_password

_HIDDEN = "***"
_SECRET_NAMES = re.compile(r"pass(word|wd)?|secret|token|authorization|cookie|api_?key|credential", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}|\b((?:sasl\.)?password|secret|token)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"
)
# Chatty at levels where nobody needs them: each poll, each connection of a pool.
_QUIET = {"uvicorn.error": logging.WARNING, "pymongo": logging.WARNING, "asyncio": logging.WARNING}


def set_up_logs(*, service: str, level: str, stream: TextIO | None = None) -> None:
    """Let this process log to `stream` (standard error), in the form that fits it."""
    target = stream or sys.stderr
    is_terminal = target.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=is_terminal)
        if is_terminal
        else structlog.processors.JSONRenderer(serializer=_encode)
    )
    before: list[structlog.typing.Processor] = [
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _Naming(service),
        *([] if is_terminal else [structlog.processors.format_exc_info]),
        hide_secrets,
        renderer,
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if level != "debug":
        for name, quiet in _QUIET.items():
            logging.getLogger(name).setLevel(quiet)


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


class _Naming:
    """Adds the service's name and the current trace."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = self._service
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = f"{context.trace_id:032x}"
            event["span_id"] = f"{context.span_id:016x}"
        return event


def _encode(event: Any, **_options: Any) -> str:
    import msgspec

    return msgspec.json.encode(event, enc_hook=repr).decode()
