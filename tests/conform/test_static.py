"""`freehold check SYSTEM` finds, without any server, what is not as the diagram and the rules say."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.conform.static import check_system, strangers
from freehold.runtime.load import load_system

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / "systems" / "database_per_service"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "freehold", "check", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_reference_system_is_as_it_says() -> None:
    done = run(str(SYSTEM))

    assert (done.returncode, done.stderr) == (0, "")
    assert run("system", str(SYSTEM)).stdout == done.stdout


def test_program_gets_the_problems_as_json() -> None:
    assert run(str(SYSTEM), "--json").stdout.split() == ["{", '"problems":', "[]", "}"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('label:"Outbox of users"', 'label:"Ponder"', 'node "Users / Ponder" is bound to nothing'),
        ("Kafka { # Kafka", "Kafka { # Kafka\nn21 -> n22", "FZ"),
        ('label:"Place an order"', 'label:"Order it"', 'the line "Orders / Place an order" binds nothing'),
    ],
)
def test_diagram_that_says_nothing_is_found(tmp_path: Path, before: str, after: str, said: str) -> None:
    file = tmp_path / "system.fz"
    text = (SYSTEM / "system.fz").read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    system = dataclasses.replace(load_system(str(SYSTEM)), diagram=file)

    assert [problem for problem in check_system(system, str(SYSTEM)) if said in problem]


def test_service_that_imports_another_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(SYSTEM, folder, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (folder / "orders" / "peek.py").write_text("from shop.users.store import store\n")
    (folder / "users" / "peek.py").write_text("def late():\n    from ..orders import orders\n")

    assert strangers(folder, ["users", "orders", "gateway"]) == [
        "users/peek.py:2: users imports orders; a service reads another's events, through a class of its own",
        "orders/peek.py:1: orders imports users; a service reads another's events, through a class of its own",
    ]
