"""Every code block of README and docs runs, as its reader would run it.

`python` blocks of a page are one module, in order; the tests that it defines are run, on the real servers. `sh` blocks
run in order in one directory, the same for all pages: what the first `make up` began, the later ones find. `sql` is the
page's migration, `text` is no code.
"""

import contextlib
import dataclasses
import importlib.util
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "sh", "sql", "text"}
# They would run this very test again, or for minutes; that they exist is checked instead.
NOT_REPEATED = {"make test", "make bench", "make bench-long"}
UP_TIMEOUT_S = 240.0
BLOCK_TIMEOUT_S = 120.0
USERS_TABLE = "CREATE TABLE users (id uuid PRIMARY KEY, name text, email text, version bigint NOT NULL);\n"


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def pages_with(language: str) -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(found == language for found, _ in blocks(page))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_say_what_they_are(page: Path) -> None:
    unknown = {language for language, _ in blocks(page)} - LANGUAGES

    assert unknown == set()


@contextlib.contextmanager
def module_of(page: Path, folder: Path) -> Iterator[ModuleType]:
    """Import the page's Python as one module, from a folder where its migrations are."""
    (folder / "migrations").mkdir()
    sql = "\n".join(text for language, text in blocks(page) if language == "sql") or USERS_TABLE
    (folder / "migrations" / "0001_first.sql").write_text(sql)
    name = f"page_{page.stem.replace('-', '_').lower()}"
    file = folder / f"{name}.py"
    file.write_text("\n".join(text for language, text in blocks(page) if language == "python"))
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = Path.cwd()
    os.chdir(folder)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        os.chdir(before)
        del sys.modules[name]


@pytest.mark.parametrize("page", pages_with("python"))
async def test_python_blocks_run(page: Path, tmp_path: Path, freehold_service: Any) -> None:
    with module_of(page, tmp_path) as module:
        for name, test in inspect.getmembers(module, inspect.iscoroutinefunction):
            if name.startswith("test_"):
                await test(freehold_service)


async def test_readme_service_writes_and_its_subscriber_follows(tmp_path: Path, freehold_service: Any) -> None:
    user = "018f3c5e-7a10-7cc4-9d3a-5b1f0e2d4c6b"
    with module_of(ROOT / "README.md", tmp_path) as page:
        async with freehold_service(page.users) as users, freehold_service(page.orders) as orders:
            await orders.service.store["orders"].insert_one({"_id": "1", "customer": {"id": user, "name": "old"}})
            answer = await users.client.put(f"/users/{user}", json={"name": "Ada", "email": "ada@example.org"})
            await users.settled()

            order = await orders.service.store["orders"].find_one({"_id": "1"})
            assert answer.json() == {"id": user, "name": "Ada", "email": "ada@example.org", "version": 1}
            assert (order["customer"]["name"], order["customer"]["version"]) == ("Ada", 1)


@dataclasses.dataclass(frozen=True)
class Newcomer:
    """A directory that looks like a checkout and has no data of its own, and what was begun there."""

    folder: Path
    running: contextlib.ExitStack

    def make_up(self) -> None:
        """Run `make up`, unless a page before this one began the same and it is still up."""
        if not is_ready(self.folder):
            self.running.enter_context(made_up(self.folder))


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    folder = tmp_path_factory.mktemp("newcomer")
    for entry in ROOT.iterdir():
        if entry.name not in {".freehold", ".git"}:
            (folder / entry.name).symlink_to(entry)
    with contextlib.ExitStack() as running:
        yield Newcomer(folder, running)
    run("if [ -d .freehold ]; then .venv/bin/freehold down; fi", folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", pages_with("sh"))
def test_shell_blocks_run(page: Path, newcomer: Newcomer) -> None:
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl")
    for language, text in blocks(page):
        if language != "sh":
            continue
        if text.strip() == "make up":
            newcomer.make_up()
        elif text.strip() in NOT_REPEATED:
            run(f"make -n {text.split()[1]}", newcomer.folder)
        else:
            run(text, newcomer.folder)


@contextlib.contextmanager
def made_up(folder: Path) -> Iterator[None]:
    """Run `make up` in the foreground until it says that all is ready; Ctrl-C at the end, if it still runs then.

    What is installed stays as it is: it is this checkout's, and linked here.
    """
    log = folder / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "--old-file=.venv/.installed", "up"],
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for("make up is ready", lambda: is_ready(folder), process, log)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(BLOCK_TIMEOUT_S)


def is_ready(folder: Path) -> bool:
    state = folder / ".freehold" / "state.json"
    return state.exists() and json.loads(state.read_text())["state"] == "ready"


def wait_for(condition: str, is_met: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + UP_TIMEOUT_S
    while not is_met():
        assert process.poll() is None, f"{condition}: it ended\n{log.read_text()}"
        assert time.monotonic() < until, f"{condition}: not within {UP_TIMEOUT_S:g} s\n{log.read_text()}"
        time.sleep(0.1)


def run(script: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BLOCK_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
