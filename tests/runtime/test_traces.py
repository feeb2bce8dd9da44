"""One trace from the client's PUT to the row in another service's copy, exported over OTLP by each process."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from freehold.testing import Scene
from systems.database_per_service.orders.service import orders
from systems.database_per_service.users.service import users
from tests.runtime.service_process import Process

ROOT = Path(__file__).parents[2]
SYSTEM = str(ROOT / "systems" / "database_per_service")
SEEN_S = 30.0
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Collector:
    """Takes what is exported over OTLP, as OpenTelemetry's own collector would."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.metrics: set[tuple[str, str]] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = attributes(resource.resource)["service.name"]
                for scope in resource.scope_spans:
                    self.spans += [
                        {"service": service, "name": span.name, "trace": span.trace_id.hex(), "id": span.span_id.hex()}
                        | {"parent": span.parent_span_id.hex(), "attributes": attributes(span)}
                        for span in scope.spans
                    ]
        else:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                service = attributes(resource.resource)["service.name"]
                self.metrics |= {(service, each.name) for scope in resource.scope_metrics for each in scope.metrics}

    def wait_for(self, what: str, find: Callable[[], Any]) -> Any:
        until = time.monotonic() + SEEN_S
        while not (found := find()):
            assert time.monotonic() < until, f"{what} was not exported; seen: {self.spans} {self.metrics}"
            time.sleep(0.05)
        return found

    def span(self, service: str, name: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            found = [s for s in list(self.spans) if (s["service"], s["trace"]) == (service, TRACE_ID)]
            return next((span for span in found if span["name"] == name), None)

        span: dict[str, Any] = self.wait_for(f"{service}: {name}", find)
        return span


def attributes(holder: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in holder.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture
def processes(tmp_path: Path, collector: Collector, freehold_scene: Scene) -> Iterator[dict[str, Process]]:
    started: dict[str, Process] = {}
    for service in (users, orders):
        store_url, kafka_url = freehold_scene.provision(service)
        environment = {
            "FREEHOLD_STORE_URL": store_url,
            "FREEHOLD_KAFKA_URL": kafka_url,
            "FREEHOLD_NAMESPACE": freehold_scene.namespace,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "PYTHONPATH": str(ROOT),
        }
        started[service.name] = Process(tmp_path, [service.name, "--system", SYSTEM], environment)
    for process in started.values():
        process.wait_until_ready()
    yield started
    for process in started.values():
        process.process.kill()
        process.process.wait()


def test_one_trace_goes_from_the_click_to_the_copy(processes: dict[str, Process], collector: Collector) -> None:
    headers = {"traceparent": TRACEPARENT}
    made = processes["users"].post("/users", json={"name": "Ada", "email": "ada@example.org"}, headers=headers)

    server = collector.span("users", "POST /users")
    write = collector.span("users", "transact")
    apply = collector.span("orders", "apply users.UserCreated")
    assert made.json()["name"] == "Ada"
    assert server["parent"] == TRACEPARENT.split("-")[2]
    assert write["parent"] == server["id"]
    assert apply["parent"] in {server["id"], write["id"]}
    assert server["attributes"]["freehold.service"] == "users"
    assert server["attributes"]["freehold.operation"] == "POST /users"
    assert write["attributes"]["freehold.store"] == "users"
    assert (apply["attributes"]["freehold.service"], apply["attributes"]["freehold.topic"]) == ("orders", "users")
    collector.wait_for("users' metrics", lambda: ("users", "http.server.request.duration") in collector.metrics)
    collector.wait_for("orders' metrics", lambda: ("orders", "freehold.consumer.applied") in collector.metrics)
    assert not [span for span in collector.spans if "readyz" in str(span["attributes"].get("url.path"))]


def test_a_collector_that_is_gone_holds_nothing_up(processes: dict[str, Process], collector: Collector) -> None:
    collector.server.shutdown()
    collector.server.server_close()
    made = processes["users"].post("/users", json={"name": "Ada", "email": "ada@example.org"})
    code, took_s = processes["users"].stop()

    assert made.status_code == 201
    assert (code, took_s < 4.0) == (0, True)
