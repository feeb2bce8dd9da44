"""Hold a diagram and a system's code to each other without running anything."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from freehold.conform.binding import bind
from freehold.conform.landscape import survey
from freehold.contract import check_contracts
from freehold.flowzap import Document, read
from freehold.runtime.load import find_folder
from freehold.service import System


def check_system(system: System, source: str) -> list[str]:
    """Give what is wrong, in words: the diagram if there is one, its bindings, imports between services, contracts."""
    found: list[str] = []
    if system.diagram is not None:
        document = read(system.diagram)
        found += errors_of(document, system.diagram)
        found += bind(document.graph, survey(system), system.bindings).problems
    folder = find_folder(source)
    if folder is not None:
        names = [service.name for service in system.services]
        found += strangers(folder, [*names, *([system.gateway.name] if system.gateway is not None else [])])
    return found + [str(problem) for problem in check_contracts(system)]


def errors_of(document: Document, file: Path) -> list[str]:
    """Give the errors of a diagram's text, one line each."""
    return [
        f"{file.name}:{problem.line}:{problem.column}: {problem.code} {problem.message}"
        for problem in document.problems
        if problem.severity == "error"
    ]


def strangers(folder: Path, names: Iterable[str]) -> list[str]:
    """Find where a service's package imports another one's; the packages are the folders of the services' names."""
    packages = {name: folder / name for name in names if (folder / name).is_dir()}
    found = []
    for name, package in packages.items():
        others = {other for other in packages if other != name}
        for file in sorted(package.rglob("*.py")):
            for line, parts in _imports(file, folder):
                met = next((other for other in others if _is_inside(parts, other, folder)), None)
                if met is not None:
                    found.append(
                        f"{file.relative_to(folder)}:{line}: {name} imports {met}; a service reads another's events, "
                        f"through a class of its own"
                    )
    return found


def _imports(file: Path, folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Give each import of a file, as the parts of the module's name; a relative one as if it began at the folder."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        yield error.lineno or 1, []
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                above = file.relative_to(folder.parent).parts[: -node.level]
                parts = [*above, *parts]
            for alias in node.names:
                yield node.lineno, [*parts, alias.name]


def _is_inside(parts: list[str], name: str, folder: Path) -> bool:
    """Tell whether a module's name leads through the system's folder into that service's."""
    return any(one == folder.name and other == name for one, other in itertools.pairwise(parts)) or (
        parts[:1] == [name] and not (folder / "__init__.py").exists()
    )
