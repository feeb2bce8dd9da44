"""`freehold fz` as its user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from freehold.cli.commands import app

LOOSE = 'Shop {\n// by hand\nn1: circle label="Order"\nn2: circle label:"Done"\nn1.handle(right)->n2.handle(left)\n}\n'
STRICT = 'Shop { # Shop\nn1: circle label:"Order"\nn2: circle label:"Done"\nn1.handle(right) -> n2.handle(left)\n}\n'


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["fz", *map(str, words)])


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    file = tmp_path / "loose.fz"
    file.write_text(LOOSE)
    return file


def test_check_is_strict_unless_told(loose: Path) -> None:
    strict, lenient = run("check", loose), run("check", loose, "--lenient")

    assert (strict.exit_code, lenient.exit_code) == (1, 0)
    assert "error[FZ207]" in strict.stdout
    assert "warning[FZ207]" in lenient.stdout
    assert "1 error, 2 warnings, 1 note; 3 can be mended with --fix" in strict.stderr


def test_check_gives_data_for_programs(loose: Path) -> None:
    result = run("check", loose, "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 1
    assert [problem["code"] for problem in found] == ["FZ107", "FZ007", "FZ207", "FZ011"]
    assert {"code", "severity", "line", "column", "message", "help", "file"} <= found[0].keys()
    assert (found[2]["line"], found[2]["column"], found[2]["severity"]) == (3, 17, "error")


def test_check_of_a_clean_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "clean.fz"
    file.write_text(STRICT)

    assert (run("check", file, "--json").exit_code, run("check", file, "--json").stdout) == (0, "[]\n")
    assert "no problems" in run("check", file).stderr


def test_fix_mends_in_place_what_leaves_no_choice(loose: Path) -> None:
    result = run("check", loose, "--fix")

    assert result.exit_code == 0
    assert STRICT.replace("# Shop\n", "# Shop\n// by hand\n") == loose.read_text()


def test_fmt_writes_the_strict_form_and_says_what_is_lost(loose: Path) -> None:
    result = run("fmt", loose)

    assert result.exit_code == 0
    assert loose.read_text() == STRICT
    assert "without its 1 comment line" in result.stderr
    assert run("fmt", loose).stderr == ""


def test_fmt_keeps_comments_when_told(loose: Path) -> None:
    run("fmt", loose, "--comments")

    assert STRICT.replace("# Shop\n", "# Shop\n// by hand\n") == loose.read_text()


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_fmt_that_only_looks_writes_nothing(loose: Path, option: str) -> None:
    result = run("fmt", loose, option)

    assert result.exit_code == 1
    assert loose.read_text() == LOOSE
    assert ("+Shop { # Shop" in result.stdout) == (option == "--diff")


def test_fmt_leaves_a_file_with_errors_alone(tmp_path: Path) -> None:
    file = tmp_path / "unclear.fz"
    file.write_text(LOOSE.replace("n2.handle", "n5.handle"))
    result = run("fmt", file)

    assert result.exit_code == 1
    assert "FZ304" in result.stderr
    assert LOOSE.replace("n2.handle", "n5.handle") == file.read_text()


def test_graph_has_the_names_that_others_rely_on(loose: Path) -> None:
    graph = json.loads(run("graph", loose).stdout)

    assert {"lanes", "nodes", "edges", "loops"} == graph.keys()
    assert {"id": "n1", "label": "Order", "shape": "circle", "lane": "Shop"}.items() <= graph["nodes"][0].items()
    assert {"source": "n1", "target": "n2", "label": ""}.items() <= graph["edges"][0].items()


def test_diff_tells_changes_in_words_and_as_data(tmp_path: Path) -> None:
    before, after = tmp_path / "before.fz", tmp_path / "after.fz"
    before.write_text(STRICT)
    after.write_text(STRICT.replace("Done", "Paid"))

    assert run("diff", before, after).stdout == 'node n2: label is "Paid" instead of "Done"\n'
    assert [found["id"] for found in json.loads(run("diff", before, after, "--json").stdout)] == ["n2"]
    assert run("diff", before, after, "--exit-code").exit_code == 1
    assert "nothing changed" in run("diff", before, before).stderr


@pytest.mark.parametrize("data", [bytes(range(256)), b"x" * 10_000_000, b'"' * 50_000, "‮{".encode() * 9_000])
def test_hostile_file_is_refused_and_no_traceback_is_shown(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "hostile.fz"
    file.write_bytes(data)

    for command in ("check", "graph", "fmt"):
        result = run(command, file)
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
    assert data == file.read_bytes()
