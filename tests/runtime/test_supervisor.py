"""A system from `up` to `down`, with real servers and real processes, and everything killed in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from freehold.runtime.supervisor.plan import GATEWAY_PORT
from freehold.runtime.supervisor.state import Place
from freehold.topic.address import KafkaAddress
from tests.runtime.conftest import targets
from tests.runtime.small.system import DEMO_COUNT
from tests.runtime.small_system import PROCESSES, SOURCE, SmallSystem, small_system, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

STOP_LIMIT_S = 5.0
START_OF_PYTHON_S = 1.5  # what the command itself takes on a busy machine, beside what it stops


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSystem]:
    """The system, once for all tests that leave it up; up again when one of them took it down.

    A start is what takes these tests longest: one that begins with nothing up stands behind one that ends so.
    """
    with small_system(tmp_path_factory.mktemp("small")) as system:
        system.up()
        yield system


@pytest.fixture
def system(running: SmallSystem) -> SmallSystem:
    is_up = (running.directory / ".freehold" / "state.json").exists() and running.state()["state"] == "ready"
    if not (is_up and all(running.is_ready(name) for name in PROCESSES)):
        running.up()
    return running


def test_detached_start_returns_ready_and_tells_who_answers(system: SmallSystem) -> None:
    """That it returned at all says that nothing holds the output open which it was given."""
    status = system.status()

    assert set(status) == set(PROCESSES)
    assert {process["state"] for process in status.values()} == {"ready"}
    assert all(Path(process["log"]).exists() for process in status.values())
    assert all(_owner_of_listener(process["port"]) == process["pid"] for process in status.values())


def test_down_leaves_no_process_and_the_next_start_writes_no_second_demo(system: SmallSystem) -> None:
    before = system.count()

    down = system.freehold("down")

    assert (down.code, down.output.strip()) == (0, "stopped")
    assert system.processes() == {}
    assert down.took_s < STOP_LIMIT_S + START_OF_PYTHON_S
    again = system.freehold("down")
    assert (again.code, again.output.strip()) == (0, "nothing is up here")
    assert {process["state"] for process in system.status().values()} == {"stopped"}

    system.up()

    assert before >= DEMO_COUNT
    assert system.count() == before


def test_dead_letters_of_all_services_are_found_and_discarded(system: SmallSystem) -> None:
    assert json.loads(system.freehold("dead", "list", "--json").output) == []
    environment = Place(system.directory / ".freehold").read_environment("notes")
    address = KafkaAddress.parse(environment["FREEHOLD_KAFKA_URL"])
    producer = Producer({**address.client_config(), "partitioner": "murmur2_random"})
    producer.produce("notes", b"no event", b"note/none")
    assert producer.flush(30) == 0

    def found() -> list[dict[str, object]]:
        listed: list[dict[str, object]] = json.loads(system.freehold("dead", "list", "--json").output)
        return listed

    wait_until(lambda: len(found()) == 2, "the record is parked by both of its readers")
    assert {each["service"]: (each["state"], each["error_type"]) for each in found()} == {
        "tags": ("dead", "Unreadable"),
        "marks": ("dead", "Unreadable"),
    }
    tail = ("events", "tail", "marks.dead", "--no-follow")
    wait_until(lambda: "died of Unreadable" in system.freehold(*tail).output, "the topic of dead letters has it")
    again = system.freehold("dead", "redrive", "--all", "--yes", "--json")
    assert (again.code, json.loads(again.output)["outcomes"]) == (1, {"failed again": 2})
    given_up = system.freehold("dead", "discard", "--all", "--yes", "--json")
    assert (given_up.code, json.loads(given_up.output)["outcomes"]) == (0, {"discarded": 2})
    assert found() == []


def test_each_service_knows_its_own_credentials_and_nothing_else(system: SmallSystem) -> None:
    secrets = json.loads((system.directory / ".freehold" / "secrets.json").read_text())
    known = {name: _environment_of(process["pid"]) for name, process in system.status().items()}

    for service in ("notes", "tags", "marks"):
        held = {name for name, password in secrets.items() if password in known[service]}
        assert {name.rpartition("/")[2] for name in held - {"token"}} == {service}
    # What signs the tokens of who wrote is the system's; it opens nothing.
    assert [name for name, password in secrets.items() if password in known["gateway"]] == ["token"]
    assert "FREEHOLD_STORE_URL" not in known["gateway"]


def test_secrets_are_on_no_command_line_and_in_no_output(system: SmallSystem) -> None:
    secrets = json.loads((system.directory / ".freehold" / "secrets.json").read_text()).values()
    lines = "".join(system.processes().values())
    logs = "".join(path.read_text(errors="replace") for path in (system.directory / ".freehold" / "logs").iterdir())
    shown = system.freehold("status", "--json").output + system.freehold("status").output

    assert [secret for secret in secrets if secret in lines + logs + shown] == []


def test_secrets_are_for_their_owner_only(system: SmallSystem) -> None:
    place = system.directory / ".freehold"
    files = [place / "secrets.json", place / "state.json", *(place / "environment").iterdir()]

    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}


def test_another_start_on_the_same_data_is_refused_by_name(system: SmallSystem) -> None:
    for arguments in (["--detach"], []):
        refused = system.freehold("up", str(SOURCE), *arguments)

        assert refused.code == 1
        assert f"in use by process {system.state()['pid']} (freehold up " in refused.errors
        assert "Traceback" not in refused.errors
    assert all(system.is_ready(name) for name in PROCESSES)


def test_service_whose_store_hangs_is_told_unready_and_why(system: SmallSystem) -> None:
    mongo = system.status()["mongo"]["pid"]
    os.kill(mongo, signal.SIGSTOP)
    try:
        wait_until(lambda: system.status()["marks"]["state"] == "unready", "marks is unready")
        status = system.status()
    finally:
        os.kill(mongo, signal.SIGCONT)

    assert status["marks"]["detail"].startswith("store: ")
    assert status["notes"]["state"] == "ready"
    wait_until(lambda: system.status()["marks"]["state"] == "ready", "marks is ready again")


def test_reset_is_refused_while_it_is_up(system: SmallSystem) -> None:
    refused = system.freehold("reset", "--yes")

    assert refused.code == 1
    assert "freehold down" in refused.errors
    assert (system.directory / ".freehold" / "postgres").exists()


@pytest.mark.parametrize("name", ["postgres", "mongo", "kafka", "notes"])
def test_killed_process_is_started_again(system: SmallSystem, name: str) -> None:
    before = system.status()[name]
    os.kill(before["pid"], signal.SIGKILL)

    wait_until(lambda: not system.is_ready(name), f"{name} is missed")
    wait_until(lambda: system.is_ready(name), f"{name} is ready again")
    after = system.status()[name]

    assert after["pid"] != before["pid"]
    assert after["restarts"] > before["restarts"]
    assert (after["port"], after["url"]) == (before["port"], before["url"])
    wait_until(lambda: _can_write(system), "a note can be written")


def test_what_a_killed_supervisor_left_is_told_and_taken_over(system: SmallSystem) -> None:
    before = system.status()
    note_count = system.count()
    os.kill(system.state()["pid"], signal.SIGKILL)

    wait_until(lambda: json.loads(system.freehold("status", "--json").output)["state"] == "unsupervised", "it is told")
    assert {process["pid"] for process in system.status().values()} == {process["pid"] for process in before.values()}
    system.up()

    log = (system.directory / ".freehold" / "logs" / "up.log").read_text()
    assert f"ending process {before['notes']['pid']}, which an earlier run left behind" in log
    assert not {process["pid"] for process in before.values()} & set(system.processes())
    assert system.count() == note_count


def test_start_after_everything_was_killed_keeps_the_data(system: SmallSystem) -> None:
    note_count = system.count()
    pids = [system.state()["pid"], *(process["pid"] for process in system.status().values())]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    system.up()

    assert system.count() == note_count
    assert system.note()


def test_down_ends_what_a_killed_supervisor_left(system: SmallSystem) -> None:
    os.kill(system.state()["pid"], signal.SIGKILL)

    done = system.freehold("down")

    assert (done.code, done.output.strip()) == (0, "stopped")
    assert system.processes() == {}


def test_busy_port_is_replaced_and_said_and_interrupt_stops_in_order(running: SmallSystem) -> None:
    running.freehold("down")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then it is busy already
            stack.enter_context(socket.create_server(("127.0.0.1", GATEWAY_PORT)))
        started = running.start_in_foreground()
        wait_until(lambda: running.state()["pid"] == started.pid, "it has begun")
        wait_until(lambda: running.state()["state"] == "ready", "it is ready", 240)

    begun_at = time.monotonic()
    started.send_signal(signal.SIGINT)
    output = started.communicate(timeout=30)[0]

    assert time.monotonic() - begun_at < STOP_LIMIT_S
    assert started.returncode == 0
    assert running.processes() == {}
    assert f"port {GATEWAY_PORT} is taken, using" in output
    stopped = [line.partition(":")[0] for line in output.splitlines() if line.endswith(": stopped")]
    assert stopped[0] == "gateway"
    assert set(stopped[1:4]) == {"notes", "tags", "marks"}
    assert set(stopped[4:]) == {"postgres", "postgres-tags", "mongo", "kafka"}


def test_interrupt_while_it_starts_leaves_nothing(running: SmallSystem) -> None:
    running.freehold("down")
    started = running.start_in_foreground()
    wait_until(lambda: running.state()["pid"] == started.pid and running.is_ready("postgres"), "something is up", 120)

    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)

    assert running.processes() == {}


def test_busy_port_that_must_be_used_is_refused(running: SmallSystem) -> None:
    running.freehold("down")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        refused = running.freehold("up", str(SOURCE), "--port", f"gateway={port}")

    assert refused.code == 1
    assert f"port {port} on 127.0.0.1 is taken" in refused.errors
    assert running.processes() == {}


def test_second_interrupt_kills(system: SmallSystem) -> None:
    """A process that is stopped cannot end in order; the second signal does not wait for its share of the time."""
    supervisor = system.state()["pid"]
    os.kill(system.status()["kafka"]["pid"], signal.SIGSTOP)

    os.kill(supervisor, signal.SIGINT)
    wait_until(lambda: system.state()["state"] == "stopping", "it is stopping")
    begun_at = time.monotonic()
    os.kill(supervisor, signal.SIGINT)
    wait_until(lambda: system.state()["state"] == "stopped", "it has stopped")

    assert time.monotonic() - begun_at < 2.0
    wait_until(lambda: system.processes() == {}, "nothing is left")


def test_reset_ends_what_a_killed_supervisor_left_before_it_deletes(system: SmallSystem) -> None:
    os.kill(system.state()["pid"], signal.SIGKILL)

    done = system.freehold("reset", "--yes")

    assert done.code == 0, done.errors
    assert system.processes() == {}
    assert not (system.directory / ".freehold").exists()


def test_service_that_fails_ends_the_start_and_names_its_log(tmp_path: Path) -> None:
    broken = shutil.copytree(SOURCE, tmp_path / "broken")
    (broken / "notes" / "0001_notes.sql").write_text("CREATE TABLE notes (this is no SQL);")
    with small_system(tmp_path) as system:
        failed = system.freehold("up", str(broken), "--detach", timeout_s=240)

        assert failed.code == 1
        assert str(tmp_path / ".freehold" / "logs" / "notes.log") in failed.errors
        assert "0001_notes.sql" in failed.errors
        assert {name: each["state"] for name, each in system.status().items() if each["state"] != "stopped"} == {
            "notes": "failed"
        }
        assert system.processes() == {}


def _can_write(system: SmallSystem) -> bool:
    try:
        return bool(system.note())
    except OSError:
        return False


def _environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode()


def _owner_of_listener(port: int) -> int | None:
    """Find the process that listens on the port, as the kernel has it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & set(targets(int(entry.name))):
            return int(entry.name)
    return None
