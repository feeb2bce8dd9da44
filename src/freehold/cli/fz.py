"""`freehold fz`: diagrams in FlowZap Code, by themselves."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli import fz_draw
from freehold.cli.output import JSON, print_json, say

if TYPE_CHECKING:
    from freehold.flowzap import Document, Problem

FILE = Annotated[
    Path,
    typer.Argument(help="A diagram in FlowZap Code.", metavar="FILE", exists=True, dir_okay=False, allow_dash=True),
]
FILES = Annotated[
    list[Path], typer.Argument(help="Diagrams in FlowZap Code.", metavar="FILE...", exists=True, dir_okay=False)
]
# Each round may make room for a fix that met another one; more than a few mean that two undo each other.
FIX_ROUNDS_MAX = 10

# `fz_draw` adds its command to the same group.
group = typer.Typer(help="Check, format, compare and draw diagrams in FlowZap Code.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group.command("check")(check)
    group.command("fmt")(fmt)
    group.command("graph")(graph)
    group.command("diff")(diff)
    fz_draw.register(group)
    app.add_typer(group, name="fz", rich_help_panel="Diagrams")


def check(
    files: FILES,
    lenient: Annotated[bool, typer.Option("--lenient", help="Forms that real files have are warnings.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend in place what leaves no choice, then check.")] = False,
    json: JSON = False,
) -> None:
    """Find what is wrong in diagrams, line by line. Exit code 1 when there is an error."""
    from freehold.flowzap.report import describe, summary

    found: list[tuple[Path, Problem]] = []
    for file in files:
        document = _read(file, lenient=lenient)
        if fix:
            document = _mended(file, document, lenient=lenient)
        found += [(file, problem) for problem in document.problems]
        if not json:
            sys.stdout.write(describe(document, str(file), is_coloured=_is_coloured()))
    if json:
        print_json([{"file": str(file), **dataclasses.asdict(problem)} for file, problem in found])
    else:
        sys.stdout.flush()
        subject = str(files[0]) if len(files) == 1 else f"{len(files)} files"
        say(f"{subject}: {summary([problem for _, problem in found])}")
    if any(problem.severity == "error" for _, problem in found):
        raise typer.Exit(1)


def fmt(
    files: FILES,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
    comments: Annotated[bool, typer.Option("--comments", help="Keep comment lines, which the app drops.")] = False,
) -> None:
    """Write diagrams in the strict form, in place; what they mean stays. Comment lines go unless --comments."""
    from freehold.flowzap.format import Unclear, formatted

    changed = unclear = 0
    for file in files:
        document = _read(file, lenient=True)
        try:
            text = formatted(document, keeps_comments=comments)
        except Unclear as error:
            unclear += 1
            say(f"{file}: left as it is, {error}; see freehold fz check --lenient {file}")
            continue
        if text == document.text:
            continue
        changed += 1
        if diff:
            sys.stdout.write(_unified(document.text, text, file))
        elif check:
            say(f"{file}: would change")
        else:
            _write(file, text)
            say(f"{file}: written{_dropped(document, keeps_comments=comments)}")
    if unclear or ((check or diff) and changed):
        raise typer.Exit(1)


def graph(file: FILE) -> None:
    """Print what a diagram means, as JSON. Exit code 1 when there is an error; the rest is printed all the same."""
    document = _read(file, lenient=True)
    print_json(document.graph)
    _warn(file, document)
    if document.has_errors:
        raise typer.Exit(1)


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", exists=True, dir_okay=False, help="A diagram.")],
    after: Annotated[Path, typer.Argument(metavar="B", exists=True, dir_okay=False, help="A later one.")],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit code 1 when something changed.")] = False,
    json: JSON = False,
) -> None:
    """Say in words what changed in meaning from A to B. Exit code 1 when one of them has errors."""
    from freehold.flowzap.diff import differences

    documents = [_read(before, lenient=True), _read(after, lenient=True)]
    for file, document in zip((before, after), documents, strict=True):
        _warn(file, document)
    if any(document.has_errors for document in documents):
        raise typer.Exit(1)
    found = differences(documents[0].graph, documents[1].graph)
    if json:
        print_json(found)
    else:
        for difference in found:
            typer.echo(difference.text)
        say("nothing changed" if not found else f"{len(found)} changes")
    if found and exit_code:
        raise typer.Exit(1)


def _read(file: Path, *, lenient: bool) -> Document:
    from freehold.errors import ConfigurationError
    from freehold.flowzap import parse_bytes, read
    from freehold.flowzap.source import BYTES_MAX

    if str(file) == "-":
        return parse_bytes(sys.stdin.buffer.read(BYTES_MAX + 1), lenient=lenient)
    try:
        return read(file, lenient=lenient)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def _write(file: Path, text: str) -> None:
    from freehold.errors import ConfigurationError

    try:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error


def _mended(file: Path, document: Document, *, lenient: bool) -> Document:
    """Apply fixes until none is left or none changes anything."""
    from freehold.flowzap import parse
    from freehold.flowzap.problem import apply

    before = document.text
    for _ in range(FIX_ROUNDS_MAX):
        text = apply(document.text, [problem.fix for problem in document.problems if problem.fix])
        if text == document.text:
            break
        document = parse(text, lenient=lenient)
    if document.text != before:
        _write(file, document.text)
        say(f"{file}: mended")
    return document


def _unified(before: str, after: str, file: Path) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(file), f"{file} (strict)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _dropped(document: Document, *, keeps_comments: bool) -> str:
    count = len(document.outline.comment_lines) if document.outline else 0
    if keeps_comments or not count:
        return ""
    return f", without its {count} comment line{'s' * (count != 1)} (--comments keeps them)"


def _warn(file: Path, document: Document) -> None:
    """Show errors of a file that is not the subject of the command."""
    from freehold.flowzap.report import describe

    errors = tuple(problem for problem in document.problems if problem.severity == "error")
    shown = dataclasses.replace(document, problems=errors)
    if errors:
        sys.stderr.write(describe(shown, str(file), is_coloured=sys.stderr.isatty() and _wants_colour()))


def _is_coloured() -> bool:
    return sys.stdout.isatty() and _wants_colour()


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR")
