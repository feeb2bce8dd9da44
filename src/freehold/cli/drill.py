"""`freehold drill`: faults by seed under load, and a comparison with what clients were told."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, console, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.drill.drill import Progress
    from freehold.drill.report import Report
    from freehold.drill.stage import Stage

KILLS, MINUTES = 100, 15.0
DIFFERENCES_SHOWN_MAX = 20
SEED_BELOW = 1_000_000_000
LINE_EVERY_S = 10.0
REMOVED_S = 10.0
REMOVE_PAUSE_S = 0.1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drill", rich_help_panel="A system")(drill)


def drill(
    system: Annotated[
        str | None,
        typer.Argument(help="A folder with drill.py; the current one, or the reference system, unless given."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="What decides; chosen and told unless given.", min=0)] = None,
    minutes: Annotated[float, typer.Option(help="Begin no fault after so long.", min=0.1)] = MINUTES,
    kills: Annotated[int, typer.Option(help="Stop after so many kills.", min=1)] = KILLS,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this kind of fault (kill, stop, zombie, ...); repeatable.")
    ] = None,
    victim: Annotated[
        list[str] | None, typer.Option(help="Only this process (users, 'users relay', kafka, ...); repeatable.")
    ] = None,
    writes: Annotated[float, typer.Option(help="Writes a second.", min=1)] = 40.0,
    report: Annotated[Path | None, typer.Option(help="Write the report there as JSON.", metavar="FILE")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep data and logs even when all is well.")] = False,
    json: JSON = False,
) -> None:
    """Kill, stop and starve a system under load by a seed, and hold it to what its clients were told.

    The system is started on data of its own, beside whatever is up here, and stopped again. Exit code 0 only if nothing
    was lost, doubled, out of order or stuck; otherwise data and logs are kept, and the seed and the history of what broke are told.
    """
    from freehold.drill.drill import Drill, Extent
    from freehold.drill.find import find_workload, read_commit
    from freehold.drill.oplog import make_small_log
    from freehold.drill.schedule import ACTIONS, Schedule
    from freehold.drill.stage import Stage
    from freehold.drill.trial import Trial

    unknown = sorted(set(only or ()) - set(ACTIONS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there is {', '.join(ACTIONS)}", param_hint="--only")
    # Whoever ends us must not leave a system running.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    workload, file = find_workload(system)
    if report is not None:
        _check_writable(report)
    chosen = random.SystemRandom().randrange(SEED_BELOW) if seed is None else seed
    say(f"drill of {workload.system.name}: seed {chosen}, up to {kills} kills or {minutes:g} minutes")
    with _directory(keep=keep) as place:
        stage = Stage(place.path, workload.system, str(file), is_apart=True)
        schedule = Schedule(workload, stage.servers(), seed=chosen, only=only or (), victims=victim or ())
        if (not only or "forget" in only) and any(each.store.kind == "mongo" for each in workload.system.services):
            make_small_log(stage.place)
        with _running(stage), Trial(stage, workload, seed=chosen, writes_per_s=writes) as trial:
            with _shown() as show:
                made = Drill(trial, schedule, Extent(kills, minutes), show)
                made.run()
            found = made.report(chosen, read_commit())
        place.is_kept = place.is_kept or not found.holds
    _tell(found, report, json=json)
    if not found.holds:
        say(f"data and logs are kept in {place.path}")
        raise typer.Exit(1)


class _Kept:
    def __init__(self, path: Path, *, is_kept: bool) -> None:
        self.path = path
        self.is_kept = is_kept


@contextlib.contextmanager
def _directory(*, keep: bool) -> Iterator[_Kept]:
    """Make a fresh directory; it is removed unless it is to be kept, or something went wrong."""
    kept = _Kept(Path(tempfile.mkdtemp(prefix="freehold-drill-")), is_kept=keep)
    try:
        yield kept
    except BaseException:
        if any(kept.path.iterdir()):
            say(f"data and logs are kept in {kept.path}")
        else:
            kept.path.rmdir()
        raise
    limit = time.monotonic() + REMOVED_S
    while not kept.is_kept and kept.path.exists() and time.monotonic() < limit:
        shutil.rmtree(kept.path, ignore_errors=True)
        time.sleep(REMOVE_PAUSE_S if kept.path.exists() else 0)


@contextlib.contextmanager
def _running(stage: Stage) -> Iterator[None]:
    say("starting it on data of its own")
    try:
        stage.up()
        yield
    finally:
        stage.down()


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """Show how far it is: in one line that changes on a terminal, now and then in a line of its own on a pipe."""
    out = console(on_stderr=True)
    if out.is_terminal:
        with out.status("starting the load") as status:
            yield lambda progress: status.update(_line(progress))
        return
    told_at = [0.0]

    def show(progress: Progress) -> None:
        if time.monotonic() > told_at[0] + LINE_EVERY_S:
            told_at[0] = time.monotonic()
            say(_line(progress))

    yield show


def _line(progress: Progress) -> str:
    rate = progress.kills / progress.elapsed_s * 60 if progress.elapsed_s else 0.0
    return (
        f"{progress.kills} of {progress.kills_wanted} kills ({rate:.0f} a minute), {progress.faults} faults, "
        f"{progress.writes:,} writes, compared {progress.comparisons} times; now: {progress.now or 'a pause'}"
    )


def _check_writable(file: Path) -> None:
    """Find out before a drill of hours whether its report can be kept."""
    from freehold.errors import ConfigurationError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written: {error}") from None


def _tell(found: Report, file: Path | None, *, json: bool) -> None:
    import msgspec

    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if json:
        print_json(found)
        return
    rows = []
    for fault, count in found.faults.items():
        recovery = found.recovery_ms.get(fault)
        figures = (f"{recovery.p50:,.0f} ms", f"{recovery.max:,.0f} ms") if recovery else ("", "")
        rows.append((fault, str(count), *figures))
    print_table(("fault", "times", "recovered after (p50)", "at most"), rows)
    more = len(found.differences) - DIFFERENCES_SHOWN_MAX
    for line in [*found.unmet, *found.differences[:DIFFERENCES_SHOWN_MAX], *([f"and {more} more"] if more > 0 else [])]:
        typer.echo(line)
    for line in found.history:
        typer.echo(line)
    words = f"lost {found.lost}, twice {found.twice}, out of order {found.out_of_order}, stuck {found.stuck}"
    again = "" if found.holds else f"; again with --seed {found.seed}"
    typer.echo(f"{found.kills} kills, {sum(found.writes.values()):,} writes: {words}{again}")
