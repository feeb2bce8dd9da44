"""Write the reference pages that follow from the code: `python docs/build.py`; `make test` fails when one is stale."""

from __future__ import annotations

import inspect
import json
import re
import statistics
from pathlib import Path
from typing import Any

import freehold
from freehold.flowzap.rules import RULES

REFERENCE = Path(__file__).parent / "reference"
DRILLS = Path(__file__).parent / "drills"
CASES = Path(__file__).parents[1] / "tests" / "flowzap" / "cases"


def library_page() -> str:
    """Describe every public name by its signature and docstring."""
    parts = [
        "# The library\n",
        "Every public name of `freehold`, from its docstrings. This page is generated: `python docs/build.py`.\n",
    ]
    for name in freehold.__all__:
        value = getattr(freehold, name)
        parts.append(f"## `{name}`\n\n{_text(value)}\n")
        for method, function in _methods(value):
            parts.append(f"- `{name}.{method}{_signature(function)}`: {_first_line(function)}")
        parts.append("")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def command_page() -> str:
    """Describe every command by its own help."""
    parts = [
        "# The command line\n",
        "Every command as it describes itself. This page is generated: `python docs/build.py`.\n",
        f"```text\n{_help()}\n```\n",
    ]
    parts += [f"## `freehold {' '.join(words)}`\n\n```text\n{_help(*words)}\n```\n" for words in _commands()]
    return "\n".join(parts).rstrip() + "\n"


TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def problem_page() -> str:
    """Describe every kind of problem by the smallest diagram that has it and nothing else."""
    parts = [
        "# Problems of diagrams\n",
        "Every code of `freehold fz check` with the smallest diagram that has it. This page is generated: `python docs/build.py`.\n",
    ]
    for rule in RULES.values():
        grave = rule.severity if rule.severity == rule.lenient else f"{rule.severity}; {rule.lenient} with `--lenient`"
        parts.append(f"## {rule.code}: {rule.title}\n\n{grave.capitalize()}.\n")
        case = CASES / f"{rule.code}.fz"
        if case.exists():
            told = case.with_suffix(".txt").read_text().rpartition("\n\n")[0]
            shown = case.read_bytes().decode("utf-8", "replace").rstrip()
            parts.append(f"```text\n{shown}\n```\n\n```text\n{told}\n```\n" if shown else f"```text\n{told}\n```\n")
    return "\n".join(parts).rstrip() + "\n"


def drill_page() -> str:
    """Sum up the drills that were run, one line each, from their reports."""
    runs = [json.loads(file.read_text()) for file in sorted(DRILLS.glob("*.json"), key=lambda file: int(file.stem))]
    parts = [
        "# Drills\n",
        (
            "Every long drill of the reference system whose report is in `docs/drills`, as `freehold drill --report` wrote it. Two shared "
            "cores, with other work beside. This page is generated: `python docs/build.py`.\n"
        ),
        "Each is played again by its seed, at its commit: `freehold drill systems/database_per_service --seed SEED --kills 250`.\n",
        _drill_table(runs),
        *[
            f"Stuck with seed {run['seed']}: {'; '.join(run['unmet'])}. {run.get('remark', '')}".rstrip(". ") + ".\n"
            for run in runs
            if run["unmet"]
        ],
        "## Faults, and how long each was felt\n",
        (
            "From the kill, or the end of a stop, until a write that was made afterwards had gone all the way through the victim, with up "
            "to six faults open at once; that of a topic made anew (renew) begins with its deletion, and the operator's part is in it. The median is the middle one of the runs' medians.\n"
        ),
        _recovery_table(runs),
    ]
    return "\n".join(parts).rstrip() + "\n"


PAGES = {
    "library.md": library_page,
    "commands.md": command_page,
    "problems.md": problem_page,
    "drills.md": drill_page,
}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


def _drill_table(runs: list[dict[str, Any]]) -> str:
    counted = ("kills", "lost", "twice", "out_of_order", "stuck")
    lines = [
        "| seed | commit | minutes | faults | kills | writes | lost | twice | out of order | stuck |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        faults, writes = sum(run["faults"].values()), sum(run["writes"].values())
        figures = [
            run["seed"],
            run["commit"] or "-",
            f"{run['minutes']:g}",
            f"{faults:,}",
            f"{run['kills']:,}",
            f"{writes:,}",
        ]
        lines.append(f"| {' | '.join(map(str, [*figures, *(run[each] for each in counted[1:])]))} |")
    totals = {each: sum(run[each] for run in runs) for each in counted}
    faults = sum(sum(run["faults"].values()) for run in runs)
    writes = sum(sum(run["writes"].values()) for run in runs)
    minutes = sum(run["minutes"] for run in runs)
    whole = ["all", "", f"{minutes:g}", f"{faults:,}", f"{totals['kills']:,}", f"{writes:,}"]
    lines.append(f"| {' | '.join(map(str, [*whole, *(totals[each] for each in counted[1:])]))} |")
    return "\n".join(lines) + "\n"


def _recovery_table(runs: list[dict[str, Any]]) -> str:
    lines = ["| fault | times | p50 | at most |", "|---|---|---|---|"]
    for fault in sorted({fault for run in runs for fault in run["faults"]}):
        times = sum(run["faults"].get(fault, 0) for run in runs)
        found = [run["recovery_ms"][fault] for run in runs if fault in run["recovery_ms"]]
        figures = ("", "")
        if found:
            middle, most = statistics.median(each["p50"] for each in found), max(each["max"] for each in found)
            figures = (f"{middle / 1000:.1f} s", f"{most / 1000:.1f} s")
        lines.append(f"| {fault} | {times} | {figures[0]} | {figures[1]} |")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    text = inspect.getdoc(value) or ""
    # Sections of a docstring become lists; code in it stays as it is.
    text = re.sub(r"^(Args|Returns|Raises|Guarantees|Attributes):\n", r"**\1**\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^    (?! )(\w[\w ,/]*): ", r"- `\1`: ", text, flags=re.MULTILINE)


def _methods(value: object) -> list[tuple[str, object]]:
    if not inspect.isclass(value) or issubclass(value, Exception):
        return []
    return [
        (name, member)
        for name, member in vars(value).items()
        if not name.startswith("_") and callable(getattr(value, name)) and inspect.getdoc(member)
    ]


def _signature(function: object) -> str:
    target = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    assert callable(target)
    return re.sub(r"^\((self|cls)(, )?", "(", str(inspect.signature(target)).replace("'", ""))


def _first_line(function: object) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _commands() -> list[list[str]]:
    import typer.main

    from freehold.cli.commands import app

    def walk(group: object, words: list[str]) -> list[list[str]]:
        found: list[list[str]] = []
        for name, command in sorted(getattr(group, "commands", {}).items()):
            if not command.hidden:
                found += [[*words, name], *walk(command, [*words, name])]
        return found

    return walk(typer.main.get_command(app), [])


def _help(*words: str) -> str:
    # In one process with the others: starting Python for each command takes most of a second.
    from typer.testing import CliRunner

    from freehold.cli.commands import app

    done = CliRunner().invoke(app, [*words, "--help"], prog_name="freehold", env=TERMINAL, catch_exceptions=False)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


if __name__ == "__main__":
    main()
