import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.errors import ConfigurationError, StartError
from freehold.runtime.embedded.orphans import find_processes
from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.embedded.process import ServerProcess
from tests.runtime.conftest import KINDS, STOP_TIMEOUT_S, Kind, Place, Server, kill, targets, wait_until

TOGETHER_S = 90.0  # generous: the decision page has what was measured on an idle machine

pytestmark = pytest.mark.services


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something else listens on, which never says a word."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture(scope="module", params=sorted(KINDS))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that several tests only look at."""
    kind = KINDS[request.param]
    server: Server = Place(tmp_path_factory.mktemp("running")).server(kind)
    server.start(lambda _: None)
    yield server
    server.stop(STOP_TIMEOUT_S)


def programs(server: Server) -> list[int]:
    program = {"postgres": "postgres", "mongo": "mongod", "kafka": "java"}[server.name]
    return find_processes(server.directory, program)


def test_restart_keeps_data_and_address(kind: Kind, place: Place) -> None:
    server = place.server(kind)
    server.start(place.said.append)
    kind.write(server.admin_url)
    url = server.admin_url
    server.stop(STOP_TIMEOUT_S)
    stopped = (server.pid, programs(server))
    server.start(place.said.append)

    assert stopped == (None, [])
    assert server.admin_url == url
    assert kind.read(url) == "kept"
    assert place.said[-1] == "ready"


def test_server_left_behind_is_ended_by_the_next_start(kind: Kind, place: Place) -> None:
    """What one `up` leaves when it is killed, the next one finds: the same directory, nothing else in common."""
    left = place.server(kind)
    left.start(place.said.append)
    kind.write(left.admin_url)
    left_pid = left.pid
    server = place.server(kind)
    server.start(place.said.append)

    assert left.pid is None
    assert any(f"pid {left_pid}" in said for said in place.said)
    assert kind.read(server.admin_url) == "kept"


def test_killed_server_starts_again_with_its_data(kind: Kind, place: Place) -> None:
    """Even if the number in the lock file that it left is that of a living process by now."""
    server = place.server(kind)
    server.start(place.said.append)
    kind.write(server.admin_url)
    kill(server)
    wait_until(lambda: programs(server) == [], "the end of its children")
    lock = server.directory / kind.lock_file
    lock.write_text("\n".join([str(os.getpid()), *lock.read_text().splitlines()[1:]]))
    server.start(place.said.append)

    assert kind.read(server.admin_url) == "kept"


def test_taken_port_is_replaced_and_said(kind: Kind, place: Place, taken: int) -> None:
    """Also by a server that has data: MongoDB's replica set knows its member by the port of the time before."""
    first = place.server(kind)
    first.port = taken  # in place of the usual one, which another test or user may have
    first.start(place.said.append)
    kind.write(first.admin_url)
    first.stop(STOP_TIMEOUT_S)
    with socket.create_server((LOOPBACK, first.port)):
        server = place.server(kind)
        server.port = first.port
        server.start(place.said.append)

        assert first.port != taken
        assert f"port {taken} is taken, using {first.port}" in place.said
        assert f"port {first.port} is taken, using {server.port}" in place.said
        assert kind.read(server.admin_url) == "kept"


def test_taken_port_that_was_asked_for_is_refused(kind: Kind, place: Place, taken: int) -> None:
    server = place.server(kind, port=taken)

    with pytest.raises(ConfigurationError, match=f"port {taken}"):
        server.start(place.said.append)

    assert programs(server) == []


def test_passwords_are_in_private_files_only(running: Server) -> None:
    password = running.admin_url.partition("@")[0].rpartition(":")[2].encode()
    commands = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in programs(running))
    environments = b"".join(Path(f"/proc/{pid}/environ").read_bytes() for pid in programs(running))
    holding = [file for file in running.directory.parent.rglob("*") if file.is_file() and password in file.read_bytes()]

    assert programs(running)
    assert password not in commands + environments
    assert password.decode() not in repr(running)
    assert holding  # the search finds what is there
    assert {oct(stat.S_IMODE(file.stat().st_mode)) for file in holding} == {"0o600"}
    assert password not in running.log.read_bytes()


def test_server_that_cannot_start_names_its_log(kind: Kind, place: Place) -> None:
    damage = {"postgres": "global/pg_control", "mongo": "WiredTiger.turtle", "kafka": "data/meta.properties"}[kind.name]
    server = place.server(kind)
    server.start(place.said.append)
    server.stop(STOP_TIMEOUT_S)
    (server.directory / damage).write_text("damaged")

    with pytest.raises(StartError, match=re.escape(str(server.log))):
        server.start(place.said.append)

    assert server.pid is None


def test_password_that_does_not_fit_the_data_is_said_at_once(kind: Kind, place: Place) -> None:
    server = place.server(kind)
    server.start(place.said.append)
    server.stop(STOP_TIMEOUT_S)
    secrets = place.directory / "secrets.json"
    secrets.unlink()
    stranger = place.server(kind)

    with pytest.raises(ConfigurationError, match=re.escape(str(secrets))):
        stranger.start(place.said.append)

    # Children of PostgreSQL see by themselves that the server is gone.
    wait_until(lambda: programs(stranger) == [], "the end of its children")


def test_interrupted_first_start_is_begun_anew(kind: Kind, place: Place) -> None:
    """Killed while it makes its data: nothing that was begun is taken for whole."""
    begun = {"postgres": "postgres.new/data", "mongo": "mongo/journal", "kafka": "kafka/data.new"}[kind.name]
    (place.directory / begun).mkdir(parents=True)
    (place.directory / begun / "half").write_text("half")
    server = place.server(kind)
    server.start(place.said.append)
    kind.write(server.admin_url)

    assert kind.read(server.admin_url) == "kept"


def test_interrupt_from_the_terminal_does_not_reach_the_server(running: Server) -> None:
    assert running.pid is not None

    assert os.getsid(running.pid) == running.pid != os.getsid(0)


def test_stop_kills_what_does_not_end_in_time(kind: Kind, place: Place) -> None:
    server = place.server(kind)
    server.start(place.said.append)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    server.stop(0.5)

    assert time.monotonic() - began < 5
    wait_until(lambda: programs(server) == [], "the end of its children")


@pytest.mark.parametrize(("command", "limit_s", "why"), [("sleep 60", 0.1, "took longer"), ("false", 60.0, "failed")])
def test_data_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path, command: str, limit_s: float, why: str) -> None:
    process = ServerProcess("kafka", tmp_path / "kafka")

    with pytest.raises(StartError) as told:
        process.make_data(command.split(), directory=tmp_path, limit_s=limit_s)

    assert str(told.value).startswith(f"making the data of kafka in {tmp_path} {why}")
    assert str(process.log) in str(told.value)


def test_three_servers_start_together(place: Place) -> None:
    servers = [place.server(kind) for kind in KINDS.values()]
    threads = [threading.Thread(target=server.start, args=(place.said.append,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TOGETHER_S)

    assert [server.name for server in servers if server.pid is None] == []
    assert place.said.count("ready") == 3


def test_everything_listens_on_loopback_only(running: Server) -> None:
    inodes = {
        target[len("socket:[") : -1]
        for pid in programs(running)
        for target in targets(pid)
        if target.startswith("socket:[")
    }
    listening = {
        fields[1].partition(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[9] in inodes
    }

    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert listening
    assert listening <= loopback


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take user namespaces from itself")
def test_postgres_runs_for_root_where_namespaces_are_forbidden(tmp_path: Path) -> None:
    """A process whose root directory is not the system's may make no user namespace: so it is in many containers."""
    script = tmp_path / "start.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from freehold.runtime.embedded.postgres import PostgresServer\n"
        "from freehold.runtime.provision.secrets import Secrets\n"
        "place = Path(sys.argv[1])\n"
        "server = PostgresServer(place / 'postgres', secrets=Secrets(place / 'secrets.json'))\n"
        "server.port = 0\n"
        "server.start(lambda _: None)\n"
        "status = Path(f'/proc/{server.pid}/status').read_text().splitlines()\n"
        "print([line.split()[1] for line in status if line.startswith(('Uid', 'CapEff'))])\n"
        "server.stop(10)\n"
    )
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (tmp_path / "root").mkdir()
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets no root directory be made to forbid them in")
    into_root = f"mount --rbind / {tmp_path}/root && exec chroot {tmp_path}/root {sys.executable} {script} {hidden}"
    fallback = subprocess.run(["unshare", "-m", "sh", "-c", into_root], capture_output=True, text=True, check=False)
    usual = subprocess.run([sys.executable, script, hidden], capture_output=True, text=True, check=False)

    # nobody, with the one capability that reaches into a directory of mode 0700; then the same data as ourselves
    assert (fallback.stdout, fallback.stderr) == ("['65534', '0000000000000002']\n", "")
    assert (usual.stdout, usual.stderr) == ("['0', '0000000000000000']\n", "")
