"""Write the reference pages that follow from the code: `python docs/build.py`; `make test` fails when one is stale."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import freehold
from freehold.flowzap.rules import RULES

REFERENCE = Path(__file__).parent / "reference"
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


PAGES = {"library.md": library_page, "commands.md": command_page, "problems.md": problem_page}


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


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
