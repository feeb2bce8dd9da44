"""One running system for all faults, and the table of what each of them cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from freehold.runtime.supervisor.state import Place
from tests.faults.oplog import make_small_log
from tests.faults.running_system import RunningSystem
from tests.faults.trial import Trial

TRIALS: pytest.StashKey[list[Trial]] = pytest.StashKey()


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Trial]:
    """Start the reference system by `freehold up --detach`, and leave nothing of it."""
    system = RunningSystem(tmp_path_factory.mktemp("faults"))
    make_small_log(Place(system.directory / ".freehold"))
    try:
        started = system.up()
        with Trial(system) as trial:
            pytestconfig.stash.setdefault(TRIALS, []).append(trial)
            trial.note(f"first up without demo data: {started.took_s:.1f} s")
            yield trial
    finally:
        system.down()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each fault cost, and keep it as JSON in pytest's cache."""
    for trial in config.stash.get(TRIALS, []):
        terminalreporter.section("faults: time to recover, under load")
        for line in trial.lines():
            terminalreporter.write_line(line)
        cache: pytest.Cache | None = getattr(config, "cache", None)  # it can be switched off
        if cache is not None:
            cache.set("freehold/recovery", [recovery.as_json() for recovery in trial.recoveries])
