"""A drill as a person starts it: sound systems come through it, and one with a bug in it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freehold.drill.planted import BUGS
from freehold.drill.stage import clean_environment

pytestmark = [pytest.mark.faults, pytest.mark.services, pytest.mark.timeout(240)]

SYSTEM = Path(__file__).parents[2] / "systems" / "database_per_service"
SEED = 20_261_122
# By fault that shows it and by bug: whom it is done to, and what the comparison says of it.
CAUGHT = {
    "kill": {
        "row-deleted-before-the-acknowledgement": ("orders relay", "the topic lacks"),
        "position-outside-the-transaction": ("tallies consumers", "left nothing behind"),
    },
    "repeat": {
        "guard-of-handlers-removed": ("users relay", "rows are there beside those"),
        "guard-of-copies-removed": ("users relay", "its owner's is"),
    },
}


def test_a_short_drill_finds_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    faults = [word for fault in ("kill", "stop", "repeat", "drop slot") for word in ("--only", fault)]
    done = drilled(
        "freehold", *faults, "--kills", "15", "--minutes", "0.4", "--json", "--report", str(report), cwd=tmp_path
    )
    found = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert [found[word] for word in ("lost", "twice", "out_of_order", "stuck")] == [0, 0, 0, 0]
    assert found["seed"] == SEED
    assert sum(count for fault, count in found["faults"].items() if fault.startswith("kill ")) == found["kills"] > 0
    assert set(found["recovery_ms"]) <= set(found["faults"])
    assert all(each["p50"] <= each["max"] for each in found["recovery_ms"].values())
    assert found["writes"]["acknowledged"] > 100
    assert json.loads(report.read_text()) == found


@pytest.mark.parametrize("fault", CAUGHT)
def test_each_planted_bug_is_caught(tmp_path: Path, fault: str) -> None:
    """Several at once, each in processes of its own: what is lost on a topic is no fault of who handles what came."""
    bugs = CAUGHT[fault]
    victims = [word for victim, _ in bugs.values() for word in ("--victim", victim)]
    done = drilled(
        "freehold.drill.planted", *victims, "--only", fault, "--kills", "10", "--minutes", "0.4", "--json",
        cwd=tmp_path, bugs=",".join(bugs),
    )  # fmt: skip
    found = json.loads(done.stdout)
    said = "\n".join(found["differences"])

    assert done.returncode == 1
    assert {bug: words in said for bug, (_, words) in bugs.items()} == dict.fromkeys(bugs, True)
    assert found["lost"] + found["twice"] > 0
    assert found["history"]
    assert f"--seed {SEED}" in done.stderr or found["seed"] == SEED


def test_each_bug_has_a_fault_that_shows_it() -> None:
    assert {bug for bugs in CAUGHT.values() for bug in bugs} == BUGS.keys()


def test_without_anything_to_drill_it_says_so(tmp_path: Path) -> None:
    done = drilled("freehold", cwd=tmp_path, system=str(tmp_path))

    assert done.returncode == 1
    assert "drill.py" in done.stderr
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--only", "earthquake"], "earthquake"), (["--kills", "0"], "--kills"), (["--minutes", "-1"], "--minutes")],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = drilled("freehold", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert word in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--victim", "nobody"], "kill users relay"), (["--report", "/dev/null/run.json"], "/dev/null")],
)
def test_what_cannot_be_done_is_said_before_anything_is_started(
    tmp_path: Path, arguments: list[str], word: str
) -> None:
    done = drilled("freehold", *arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert word in done.stderr
    assert "starting" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def drilled(
    module: str, *arguments: str, cwd: Path, system: str = str(SYSTEM), bugs: str = ""
) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [sys.executable, "-m", module, *([bugs] if bugs else []), "drill", system, "--seed", str(SEED), *arguments],
        cwd=cwd,
        env=clean_environment() | {"TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
