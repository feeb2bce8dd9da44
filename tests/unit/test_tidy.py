"""The style that matters is executable; everything else is left to taste (CONTRIBUTING.md)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import freehold
from freehold import errors

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = sorted(path for folder in ("src", "systems", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

FUNCTION_LINES_MAX = 60  # one screen
FILE_LINES_MAX = 400  # aim at 150 to 250
PARAMETERS_MAX = 6
PUBLIC_NAMES_MAX = 25
SAYING_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "impl"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_name_says_nothing() -> None:
    nothing = [name(path) for path in CODE if SAYING_NOTHING & set(re.split(r"[_/.]", name(path)))]
    nothing += [
        f"{name(path)}:{function.lineno} {function.name}"
        for path in CODE
        for function in functions(path)
        if SAYING_NOTHING - {"base"} & set(function.name.split("_"))  # a base backup is PostgreSQL's own word
    ]

    assert nothing == []


def test_functions_fit_one_screen() -> None:
    long = [
        f"{name(path)}:{function.lineno} {function.name}: {(function.end_lineno or 0) - function.lineno + 1} lines"
        for path in CODE
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    ]

    assert long == []


def test_functions_take_few_parameters() -> None:
    """Typer's commands are left out: a parameter there is an option of the command line."""
    many = [
        f"{name(path)}:{function.lineno} {function.name}"
        for path in CODE
        if "cli" not in path.parts
        for function in functions(path)
        if len([a for a in function.args.args if a.arg not in {"self", "cls", "mcls"}]) > PARAMETERS_MAX
    ]

    assert many == []


def test_files_stay_readable() -> None:
    long = [f"{name(path)}: {lines}" for path in CODE if (lines := path.read_text().count("\n")) > FILE_LINES_MAX]

    assert long == []


def test_every_module_says_what_it_is() -> None:
    silent = [name(path) for path in CODE if not ast.get_docstring(ast.parse(path.read_text()))]

    assert silent == []


def test_public_names_are_few_and_documented() -> None:
    public = freehold.__all__
    reference = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))

    assert len(public) <= PUBLIC_NAMES_MAX
    assert sorted(public) == public
    assert [each for each in public if not getattr(freehold, each).__doc__] == []
    assert [each for each in public if f"`{each}" not in reference] == []


def test_error_tree_is_drawn_as_it_is() -> None:
    drawn = {
        (match.start(), match.group())
        for line in (errors.__doc__ or "").splitlines()[1:]
        for match in [re.search(r"[A-Z]\w+", line)]
        if match
    }
    classes = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}

    assert {each.__name__ for each in classes} == {each for _, each in drawn}
    assert {(4 * (len(each.__mro__) - 4), each.__name__) for each in classes} == drawn


@pytest.mark.parametrize(
    "error",
    sorted(
        each.__name__
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, Exception) and not each.__subclasses__()
    ),
)
def test_every_error_is_raised_and_tested(error: str) -> None:
    raised = [path for path in CODE if path.name != "errors.py" and re.search(rf"\b{error}\(", path.read_text())]
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "systems").rglob("test_*.py")]
    tested = [path for path in tests if error in path.read_text()]

    assert raised, f"{error} is raised nowhere"
    assert tested, f"{error} is tested nowhere"


def test_cited_decisions_exist() -> None:
    numbers = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    cited = {f"{int(number):04d}" for path in CODE for number in re.findall(r"\b[Dd]ecision (\d+)", path.read_text())}

    assert cited - numbers == set()


def test_each_invariant_names_a_test_that_there_is() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "ARCHITECTURE.md").read_text()))
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "systems").rglob("tests/*.py")]
    there = {found for path in tests for found in re.findall(r"def (test_\w+)\(", path.read_text())}

    assert len(named) > 30
    assert named - there == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_has_one_title(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)

    assert len(re.findall(r"^# ", text, flags=re.MULTILINE)) == 1
