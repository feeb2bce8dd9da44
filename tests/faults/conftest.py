"""One running system for all faults, and the table of what each of them cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.drill.oplog import make_small_log
from freehold.drill.report import summarise
from freehold.drill.stage import Stage
from freehold.drill.trial import Trial
from systems.database_per_service.drill import workload

DRILLED = Path(__file__).parents[2] / "systems" / "database_per_service" / "drill.py"
SEED = 20_261_122
TRIALS: pytest.StashKey[list[Trial]] = pytest.StashKey()
NOTES: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def notes(pytestconfig: pytest.Config) -> list[str]:
    """Give the list of figures that are shown at the end."""
    return pytestconfig.stash.setdefault(NOTES, [])


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config, notes: list[str]) -> Iterator[Trial]:
    """Start the reference system, each service in one process, by `freehold up --detach`, and leave nothing of it."""
    stage = Stage(tmp_path_factory.mktemp("faults"), workload.system, str(DRILLED))
    make_small_log(stage.place)
    try:
        started = stage.up()
        with Trial(stage, workload, seed=SEED) as trial:
            pytestconfig.stash.setdefault(TRIALS, []).append(trial)
            notes.append(f"first up without demo data: {started.took_s:.1f} s")
            yield trial
    finally:
        stage.down()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each fault cost."""
    for trial in config.stash.get(TRIALS, []):
        terminalreporter.section("faults: time to recover, under load")
        for fault, recovery in summarise(trial.recovered_s).items():
            terminalreporter.write_line(f"{fault:<58} {recovery.max:8.0f} ms")
        for line in config.stash.get(NOTES, []):
            terminalreporter.write_line(line)
