"""`freehold verify --minutes`: real processes' exports are taken, judged and told, and the exit code says what came of it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from freehold.conform.span import Span
from tests.conform.otlp_json import export_of
from tests.conform.seen import Recorder

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / "systems" / "database_per_service"
WATCHED_MINUTES = 0.05
LISTENING_S = 30.0
SMALL = """\
Gateway { # Gateway
n1: circle label:"Client request"
n2: rectangle label:"Forward"
n3: circle label:"Return"
n1.handle(right) -> n2.handle(left)
n2.handle(bottom) -> Users.n4.handle(top)
}
Users { # Users
n4: rectangle label:"Handle <script>alert(1)</script>"
n5: rectangle label:"Users in PostgreSQL"
n4.handle(right) -> n5.handle(left)
n5.handle(top) -> Gateway.n3.handle(bottom) [label="<img src=x onerror=alert(2)>"]
}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def put(*, also: bool = False) -> list[Span]:
    recorder = Recorder()
    through = recorder.request("gateway", "PUT /users/{id}")
    inside = recorder.request("users", "PUT /users/{id}", recorder.call("gateway", "users", through))
    recorder.statement("users", "UPDATE", "users", inside)
    if also:
        recorder.statement("users", "find", "orders", inside, owner="orders")
    return recorder.ended()


def verify(tmp_path: Path, spans: Sequence[Span], *arguments: str) -> subprocess.CompletedProcess[str]:
    diagram, port = tmp_path / "small.fz", free_port()
    diagram.write_text(SMALL)
    command = ["verify", str(SYSTEM), "--diagram", str(diagram), "--minutes", str(WATCHED_MINUTES), "--port", str(port)]
    running = subprocess.Popen(
        [sys.executable, "-m", "freehold", *command, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    export(f"http://127.0.0.1:{port}/v1/traces", spans)
    output, errors = running.communicate(timeout=60)
    return subprocess.CompletedProcess(command, running.returncode, output, errors)


def export(url: str, spans: Sequence[Span]) -> None:
    """Send spans as soon as somebody listens."""
    limit = time.monotonic() + LISTENING_S
    while True:
        try:
            request = Request(url, export_of(spans), {"content-type": "application/json"})  # noqa: S310
            with urlopen(request, timeout=5):  # noqa: S310
                return
        except URLError:
            assert time.monotonic() < limit, "nobody listens"
            time.sleep(0.05)


def test_what_was_seen_is_told_as_json(tmp_path: Path) -> None:
    done = verify(tmp_path, put(), "--json", "--out", "report.html")
    told: dict[str, Any] = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert [(node["id"], node["seen"], node["count"]) for node in told["nodes"]] == [
        (f"n{number}", True, 1) for number in range(1, 6)
    ]
    assert [(edge["source"], edge["target"], edge["seen"]) for edge in told["edges"]] == [
        ("n1", "n2", True),
        ("n2", "n4", True),
        ("n4", "n5", True),
        ("n5", "n3", True),
    ]
    assert (told["undeclared"], told["fitness"]) == ([], 1.0)
    page = (tmp_path / "report.html").read_text()
    assert "5 of 5 nodes, 4 of 4 edges seen" in page
    assert "<script" not in page


def test_lines_in_a_pipe_are_plain_and_the_loudest_is_there(tmp_path: Path) -> None:
    done = verify(tmp_path, put(also=True))

    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "UNDECLARED users -> the store of orders: find orders" in done.stdout
    assert "seen\t1x\t" in done.stdout


def test_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        command = [sys.executable, "-m", "freehold", "verify", str(SYSTEM), "--minutes", "1", "--port", port]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert f"port {port} cannot be listened on" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--diagram", "nowhere.fz"), "there is no diagram nowhere.fz"),
        (("--diagram", sys.executable), "the diagram cannot be read"),
        (("--out", "report.doc"), "report.doc ends in none of .html, .svg"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    command = [sys.executable, "-m", "freehold", "verify", str(SYSTEM), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode != 0
    assert said in " ".join(done.stderr.replace("│", " ").split())
