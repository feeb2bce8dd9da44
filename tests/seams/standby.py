"""A standby of a PostgreSQL of the test's own, made as an operator makes one, and promoted as one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.embedded.postgres import PostgresServer, as_ordinary_user, find_program
from freehold.runtime.provision.secrets import Secrets

COPY_TIMEOUT_S = 60.0


def start_standby(primary: PostgresServer, directory: Path, secrets: Secrets) -> PostgresServer:
    """Copy the running primary, and let the copy follow it; from now on a commit waits until the standby has it."""
    directory.mkdir(mode=0o700)
    parts = urlsplit(primary.admin_url)
    to_primary = ["--host", LOOPBACK, "--port", str(primary.port), "--username", str(parts.username)]
    # The slots of the primary are not copied, whatever the way.
    copy = [str(find_program("pg_basebackup")), "--pgdata", str(directory), "--write-recovery-conf", *to_primary]
    subprocess.run(
        as_ordinary_user(directory, [*copy, "--checkpoint=fast", "--wal-method=stream", "--no-password"]),
        env=os.environ | {"PGPASSWORD": unquote(parts.password or "")},
        stdin=subprocess.DEVNULL,
        timeout=COPY_TIMEOUT_S,
        check=True,
    )
    standby = PostgresServer(directory, secrets=secrets)
    standby.start(lambda _: None)
    with psycopg.connect(primary.admin_url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        admin.execute("SELECT pg_reload_conf()")
    return standby


def promote(standby: PostgresServer) -> None:
    """Make it the primary, and wait until it takes writes."""
    with psycopg.connect(standby.admin_url, autocommit=True) as admin:
        assert admin.execute("SELECT pg_promote(wait => true)").fetchone() == (True,)


def url_of_both(url: str, standby: PostgresServer) -> str:
    """Give the service's URL with both servers in it: the drivers find whichever takes writes."""
    parts = urlsplit(url)
    both = parts._replace(
        netloc=f"{parts.netloc},{LOOPBACK}:{standby.port}", query=f"{parts.query}&target_session_attrs=read-write"
    )
    return both.geturl()
