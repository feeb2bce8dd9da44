"""The command line as a person or a program meets it, in processes of its own. What is up is in test_supervisor.py."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.http.internal import credential
from tests.runtime.small_system import SOURCE, Finished, SmallSystem, environment

PASSWORD = "do-not-show-this-password"


@pytest.fixture
def here(tmp_path: Path) -> SmallSystem:
    """An empty directory in which nothing is up."""
    return SmallSystem(tmp_path)


def is_plain_error(done: Finished) -> bool:
    return done.code == 1 and done.errors.startswith("freehold: ") and "Traceback" not in done.errors


def test_a_credential_is_made_of_the_services_key(here: SmallSystem) -> None:
    variables = {"FREEHOLD_INTERNAL_KEY": "a-key-of-the-service-users"}

    done = here.freehold("config", "credential", "orders", variables=variables)

    assert done.code == 0
    assert done.output.strip() == credential("a-key-of-the-service-users", "orders")
    assert is_plain_error(here.freehold("config", "credential", "orders"))


def test_version_is_told(here: SmallSystem) -> None:
    assert here.freehold("--version").output == f"freehold {importlib.metadata.version('freehold')}\n"


def test_help_lists_every_command(here: SmallSystem) -> None:
    done = here.freehold("--help")

    assert done.code == 0
    commands = ["up", "down", "status", "logs", "reset", "doctor", "run", "check", "events", "config", "version"]
    assert [command for command in commands if command not in done.output] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("up",),
        ("down",),
        ("status",),
        ("logs",),
        ("reset",),
        ("doctor",),
        ("run",),
        ("check", "isolation"),
        ("dead", "list"),
        ("dead", "show"),
        ("dead", "redrive"),
        ("dead", "edit"),
        ("dead", "discard"),
        ("events", "tail"),
        ("contracts", "record"),
        ("contracts", "check"),
        ("config", "show"),
        ("config", "credential"),
        ("audit",),
        ("drill",),
        ("verify",),
        ("rebuild",),
        ("epoch", "advance"),
        ("version",),
    ],
)
def test_each_command_explains_itself(here: SmallSystem, arguments: tuple[str, ...]) -> None:
    done = here.freehold(*arguments, "--help")

    assert done.code == 0
    assert "Usage: " in done.output


def test_help_fills_the_width_of_the_terminal(here: SmallSystem) -> None:
    done = here.freehold("audit", "--help", variables={"COLUMNS": "200"})

    assert "for a difference. With --json one object for each replica, each on a line." in done.output


def test_help_imports_no_driver_and_no_framework() -> None:
    """So that it is there at once."""
    heavy = ["asyncpg", "psycopg", "pymongo", "confluent_kafka", "uvicorn", "opentelemetry", "litestar", "http.client"]
    script = f"import sys, freehold.cli.commands; print(*[name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_wrong_usage_is_exit_code_2(here: SmallSystem) -> None:
    assert here.freehold("up").code == 2
    assert here.freehold("no-such-command").code == 2
    assert here.freehold("up", str(SOURCE), "--port", "gateway").code == 2


def test_error_is_one_message_without_a_traceback(here: SmallSystem) -> None:
    done = here.freehold("up", "no/such/system")

    assert is_plain_error(done)
    assert "no/such/system" in done.errors


def test_verbose_error_has_its_traceback(here: SmallSystem) -> None:
    done = here.freehold("-v", "events", "tail")

    assert done.code == 1
    assert "Traceback" in done.errors
    assert "no system is up here" in done.errors


@pytest.mark.parametrize("arguments", [("events", "tail"), ("check", "isolation"), ("logs", "users"), ("dead", "list")])
def test_command_that_needs_a_system_says_that_none_is_up(here: SmallSystem, arguments: tuple[str, ...]) -> None:
    assert is_plain_error(here.freehold(*arguments))


def test_status_and_down_of_nothing_are_no_errors(here: SmallSystem) -> None:
    status, as_data, down = here.freehold("status"), here.freehold("status", "--json"), here.freehold("down")

    assert (status.code, as_data.code, down.code) == (0, 0, 0)
    assert "nothing is up here" in status.output
    assert json.loads(as_data.output)["processes"] == []
    assert down.output.strip() == "nothing is up here"


def test_reset_asks_and_deletes_only_when_told(here: SmallSystem) -> None:
    data = here.directory / ".freehold" / "postgres"
    data.mkdir(parents=True)

    asked = here.freehold("reset")
    assert asked.code == 1
    assert data.exists()

    told = here.freehold("reset", "--yes")
    assert told.code == 0
    assert not (here.directory / ".freehold").exists()
    assert here.freehold("reset", "--yes").code == 0


def test_settings_are_shown_with_their_origin_and_without_secrets(here: SmallSystem) -> None:
    variables = {"DATABASE_URL": f"postgresql://users:{PASSWORD}@db/users", "FREEHOLD_CURSOR_KEY": PASSWORD}

    table, data = (
        here.freehold("config", "show", variables=variables),
        here.freehold("config", "show", "--json", variables=variables),
    )

    assert PASSWORD not in table.output + data.output
    shown = {line["name"]: line for line in json.loads(data.output)}
    assert shown["FREEHOLD_STORE_URL"]["origin"] == "DATABASE_URL"
    assert shown["FREEHOLD_STORE_URL"]["value"] == "postgresql://users:***@db/users"


def test_run_names_the_setting_that_is_missing(here: SmallSystem) -> None:
    done = here.freehold("run", "notes", "--system", str(SOURCE))

    assert is_plain_error(done)
    assert "FREEHOLD_STORE_URL" in done.errors


def test_run_of_no_such_service_names_those_that_there_are(here: SmallSystem) -> None:
    done = here.freehold("run", "nothing", "--system", str(SOURCE))

    assert is_plain_error(done)
    assert "notes, tags, marks" in done.errors


def test_doctor_finds_what_a_start_needs(here: SmallSystem) -> None:
    done = here.freehold("doctor", "--json")

    findings = {finding["subject"]: finding for finding in json.loads(done.output)}
    assert done.code == 0, findings
    assert findings["PostgreSQL"]["found"].startswith("postgres (PostgreSQL) 18")
    assert findings["MongoDB"]["found"].startswith("db version v")
    assert "25" in findings["Java"]["found"]


@pytest.mark.parametrize(
    ("variable", "url", "subject"),
    [
        ("FREEHOLD_POSTGRES_URL", f"postgresql://admin:{PASSWORD}@127.0.0.1:1/postgres", "your postgres"),
        ("FREEHOLD_MONGO_URL", f"mongodb://admin:{PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=100", "your mongo"),
        ("FREEHOLD_KAFKA_URL", f"kafka://admin:{PASSWORD}@127.0.0.1:1", "your kafka"),
    ],
)
def test_doctor_names_the_server_that_does_not_answer(here: SmallSystem, variable: str, url: str, subject: str) -> None:
    done = here.freehold("doctor", "--json", variables={variable: url})

    assert done.code == 1
    assert {finding["subject"] for finding in json.loads(done.output) if finding["grade"] == "missing"} == {subject}
    assert variable in done.output
    assert PASSWORD not in done.output + done.errors


def test_contracts_are_recorded_checked_and_held(here: SmallSystem) -> None:
    system = shutil.copytree(SOURCE, here.directory / "system")
    code = (system / "system.py").read_text().replace("demo=write_demo", 'contracts=HERE / "contracts"')
    (system / "system.py").write_text(code)
    check = ("contracts", "check", str(system))

    assert here.freehold(*check).code == 1
    recorded = here.freehold("contracts", "record", str(system))
    assert (recorded.code, "wrote system/contracts/samples/NoteWritten.1.json" in recorded.output) == (0, True)
    assert here.freehold(*check).code == 0
    assert here.freehold("contracts", "record", str(system)).output == "everything is recorded already\n"

    (system / "system.py").write_text(code.replace("    text: str\n", "    words: str\n", 1))
    broken = here.freehold(*check)
    assert broken.code == 1
    line = next(line for line in broken.output.splitlines() if "'text' would be gone" in line)
    assert line.startswith("system/contracts/NoteWritten.1.json: the field 'text' would be gone (breaks tags: Replica")
    assert line.endswith("publish it with schema=2 instead, when its readers have an upcast of schema 1")
    found = json.loads(here.freehold(*check, "--json").output)["problems"]
    assert {problem["kind"] for problem in found} == {"field-removed", "field-required"}
    assert set(found[0]) == {"kind", "where", "what", "mend", "breaks"}
    assert is_plain_error(here.freehold("contracts", "record", str(system)))

    (system / "contracts" / "samples" / "NoteWritten.1.json").write_text("{}")
    assert is_plain_error(here.freehold(*check))


def test_contracts_of_no_system_is_said(here: SmallSystem) -> None:
    done = here.freehold("contracts", "check")

    assert is_plain_error(done)
    assert "there is no system.py in this folder; name the system" in done.errors


def test_reader_that_has_enough_ends_the_command_quietly(here: SmallSystem) -> None:
    command = f"{sys.executable} -m freehold config show --json | head -1"

    done = subprocess.run(  # noqa: S602 - the pipe is the shell's
        command, shell=True, cwd=here.directory, env=environment(), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_service_process_carries_no_command_line_library() -> None:
    """Memory and start of each service: Typer brings pydantic, which alone is 20 MB."""
    script = (
        "import sys; sys.argv = ['freehold', 'run', 'notes', '--system', sys.argv[1]]\n"
        "from freehold.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print(*[name for name in ('typer', 'pydantic', 'rich') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(SOURCE)], env=environment(), capture_output=True, text=True, check=True
    )

    assert "FREEHOLD_STORE_URL" in done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.skipif(shutil.which("make") is None, reason="this machine has no make")
def test_make_help_names_what_others_rely_on() -> None:
    done = subprocess.run(
        ["make", "help"],
        cwd=SOURCE.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    targets = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"help", "install", "up", "test", "bench", "bench-long", "lint", "format", "lock"} <= targets
