"""Set OpenTelemetry's SDK up when its own variables ask for it; nothing of it is imported otherwise.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`) turns traces on; `OTEL_TRACES_EXPORTER=console|none`,
`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and `OTEL_SDK_DISABLED` mean what they mean
everywhere. Without them a trace id still goes through everything.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from freehold.errors import ConfigurationError, MissingPartError
from freehold.telemetry import look_for_sdk

# A collector that does not answer must not hold a process that was told to stop.
FLUSH_S = 1.0


def set_up_traces(service: str, environment: Mapping[str, str] | None = None) -> Callable[[], None]:
    """Export spans as the environment asks.

    Returns:
        What sends the last spans, within FLUSH_S; to be called once when the process stops.

    Raises:
        ConfigurationError: An exporter or protocol that there is not.
        MissingPartError: The OTLP exporter is not installed.
    """
    given = os.environ if environment is None else environment
    exporter = _exporter(given)
    if exporter is None:
        return _nothing
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # Resource.create reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which go before what we say.
    own = {} if given.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    look_for_sdk()
    return lambda: _within(FLUSH_S, provider.shutdown)


def wants_otlp(given: Mapping[str, str], signal: str) -> bool:
    """Say whether the environment asks for a signal ("TRACES", "METRICS") to be sent over OTLP."""
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    chosen = given.get(f"OTEL_{signal}_EXPORTER", "")
    endpoint = given.get("OTEL_EXPORTER_OTLP_ENDPOINT") or given.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return chosen == "otlp" or (not chosen and bool(endpoint))


def check_protocol(given: Mapping[str, str], signal: str) -> None:
    """Refuse a protocol that we do not speak.

    Raises:
        ConfigurationError: Another than http/protobuf.
    """
    name = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = given.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or given.get(name) or "http/protobuf"
    if protocol != "http/protobuf":
        raise ConfigurationError(f"{name} is {protocol!r}; Freehold exports http/protobuf (port 4318 as a rule)")


def _exporter(given: Mapping[str, str]) -> Any:
    if wants_otlp(given, "TRACES"):
        check_protocol(given, "TRACES")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise MissingPartError("OTLP export was asked for; install freehold[otlp]") from error
        return OTLPSpanExporter()
    chosen = given.get("OTEL_TRACES_EXPORTER", "")
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true" or chosen in {"", "none", "otlp"}:
        return None
    if chosen != "console":
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER is {chosen!r}; it takes otlp, console or none")
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter()


def _within(seconds: float, do: Callable[[], None]) -> None:
    thread = threading.Thread(target=do, name="flush", daemon=True)
    thread.start()
    thread.join(seconds)


def _nothing() -> None:
    return
