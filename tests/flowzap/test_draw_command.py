"""`freehold fz draw`, as a user calls it."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.flowzap.drawings import FILES

FILE = next(path for path in FILES if path.stem == "hello-service")
LATE = next(path for path in FILES if path.stem == "checkout")


def fz_draw(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "freehold", "fz", "draw", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_standard_output_is_the_picture_alone() -> None:
    ran = fz_draw(FILE, "--theme", "dark", "--view", "sequence")

    assert ran.returncode == 0
    assert ran.stderr == ""
    ET.fromstring(ran.stdout)  # noqa: S314  our own output


def test_svg_file_is_written(tmp_path: Path) -> None:
    ran = fz_draw(FILE, "--out", tmp_path / "picture.svg")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (tmp_path / "picture.svg").read_text() == fz_draw(FILE).stdout


def test_png_file_is_written(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra freehold[png] is not installed")
    ran = fz_draw(FILE, "--out", tmp_path / "picture.png")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_sequence_out_of_the_files_order_says_so() -> None:
    by_cause, by_file = fz_draw(LATE, "--view", "sequence"), fz_draw(LATE, "--view", "sequence", "--order", "file")

    assert "told by cause" in by_cause.stderr
    assert by_file.stderr == ""
    assert by_cause.stdout != by_file.stdout


@pytest.mark.parametrize(
    ("text", "out", "said"),
    [
        ("", "-", "nothing to draw"),
        ("graph TD; a-->b\n", "-", "nothing to draw"),
        ('A { # A\nn1: circle label:"x"\n}\n', "picture.gif", "must end in .svg or .png"),
        ('A { # A\nn1: circle label:"x"\n}\n', "missing/picture.svg", "cannot write"),
        ("A { # A\n" + "".join(f"n{k}: circle\n" for k in range(1, 3_001)) + "}\n", "-", "at most 1,500"),
    ],
    ids=["empty", "another language", "another format", "no such folder", "too large"],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(tmp_path: Path, text: str, out: str, said: str) -> None:
    file = tmp_path / "diagram.fz"
    file.write_text(text)
    ran = fz_draw(file, "--out", out if out == "-" else tmp_path / out)

    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_what_a_mistake_leaves_out_is_said_and_the_rest_drawn(tmp_path: Path) -> None:
    file = tmp_path / "diagram.fz"
    file.write_text(
        'A { # A\nn1: circle label:"Start"\nn2: circle label:"End"\n'
        "n1.handle(right) -> n2.handle(left)\nn1.handle(right) -> n9.handle(left)\n}\n"
    )
    ran = fz_draw(file)

    assert ran.returncode == 0
    assert f"{file}:5" in ran.stderr
    assert ran.stdout.count('class="edge"') == 1
