"""Java's archive for Kafka, made in a cache of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.runtime.embedded import archive
from freehold.runtime.embedded.libraries import fetch_jars, find_cache
from freehold.runtime.embedded.training import LOWEST_PRIORITY
from tests.runtime.conftest import KINDS, STOP_TIMEOUT_S, Place, wait_until

pytestmark = pytest.mark.services

TRAINING = "freehold.runtime.embedded.training"
# At the priority of everybody else: what runs beside an `up` would wait for all tests beside it.
CODE = f"import os, runpy; os.nice = lambda _: 0; runpy.run_module({TRAINING!r}, run_name='__main__')"
TRAIN = (sys.executable, "-c", CODE)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that has the jars, and no archive."""
    monkeypatch.setattr(archive, "TRAIN", TRAIN)
    jars = fetch_jars(lambda _: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "freehold" / "jars"
    folder.mkdir(parents=True)
    for jar in jars:
        (folder / jar.name).symlink_to(jar)
    return tmp_path / "cache" / "freehold"


def family(parent: int) -> dict[int, str]:
    """List the processes that descend from this one, with their commands."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if fields[0] not in "ZX":
                parents[int(entry.name)] = int(fields[1])
    found = {parent}
    while more := {pid for pid, its in parents.items() if its in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found - {parent}}


@pytest.mark.timeout(200)
def test_stop_ends_the_training_and_all_that_it_started(place: Place, cache: Path) -> None:
    server = place.server(KINDS["kafka"])
    server.start(place.said.append)

    def trained() -> dict[int, str]:
        return {pid: its for pid, its in family(os.getpid()).items() if "freehold-training-" in its or TRAINING in its}

    wait_until(lambda: any("kafka.Kafka" in its for its in trained().values()), "the training of a broker", 90)
    during = trained()
    server.stop(STOP_TIMEOUT_S)
    left = {pid for pid in during if (Path("/proc") / str(pid)).exists()}

    assert len(during) >= 2
    assert left == set()
    assert list((cache / "archives").glob("*.aot")) == []


@pytest.mark.timeout(400)
def test_archive_is_made_once_and_used_from_then_on(place: Place) -> None:
    """In the cache of everybody, where `make test` has made it before."""
    first = subprocess.run(archive.TRAIN, capture_output=True, text=True, check=False, timeout=300)
    made = Path(first.stdout.rstrip())
    written_at = made.stat().st_mtime_ns
    second = subprocess.run(archive.TRAIN, capture_output=True, text=True, check=True, timeout=60)
    server = place.server(KINDS["kafka"])
    server.start(place.said.append)

    assert (first.stderr, made.parent) == ("", find_cache() / "archives")
    assert second.stdout == first.stdout
    assert made.stat().st_mtime_ns == written_at
    assert str(made) in Path(f"/proc/{server.pid}/maps").read_text()
    assert not [its for its in family(os.getpid()).values() if TRAINING in its]


@pytest.mark.parametrize("arguments", [[], ["--while-open"]])
def test_training_lets_others_go_first_only_beside_other_work(arguments: list[str]) -> None:
    code = (
        "import os, sys; from freehold.runtime.embedded import training;"
        "training.train = lambda: os.nice(0); sys.exit(training.main())"
    )
    given, held_open = os.pipe()
    try:
        command = [sys.executable, "-c", code, *arguments]
        ended = subprocess.run(command, stdin=given, capture_output=True, text=True, check=True, timeout=60)
    finally:
        os.close(given)
        os.close(held_open)

    assert int(ended.stdout) == (LOWEST_PRIORITY if arguments else os.nice(0))
