"""An Apache Kafka 4 of one's own: one node that is broker and controller (KRaft), both behind a password."""

import base64
import contextlib
import os
import secrets as randomness
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from freehold.runtime.embedded.archive import Archive
from freehold.runtime.embedded.kafka_settings import ADMIN, LOGGING, format_settings
from freehold.runtime.embedded.libraries import fetch_jars, find_java
from freehold.runtime.embedded.orphans import end_orphans
from freehold.runtime.embedded.ports import LOOPBACK, HeldPort, is_listening
from freehold.runtime.embedded.process import EmbeddedServer, Report, ServerProcess, refused
from freehold.runtime.embedded.tied import tied
from freehold.runtime.provision.secrets import Secrets, write_private
from freehold.topic.address import SASL_PLAIN_TEXT, KafkaAddress

USUAL_PORT = 9092
START_TIMEOUT_S = 60.0  # after a crash each log's last segment is read again
FORMAT_TIMEOUT_S = 120.0
ATTEMPT_TIMEOUT_S = 1.0
REFUSALS_MAX = 3  # the first may come before the broker has read its users
SETTINGS_NAME = "server.properties"
# One broker for one machine: the small compiler and the small collector start fastest. Decision 2 has the measurements.
JAVA_OPTIONS = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:all=error:stderr"]


class KafkaServer(EmbeddedServer):
    """A Kafka broker on loopback with its data in one directory.

    Args:
        directory: Where the data is kept; made by the first start.
        port: The port to use, and no other; without it the usual one if it is free, else any.
        secrets: Where the passwords of the administrator and of the controller are kept.
        training: A file to record to what Java's archive shall hold (see archive.py).
    """

    name = "kafka"

    def __init__(
        self, directory: Path, *, port: int | None = None, secrets: Secrets, training: Path | None = None
    ) -> None:
        self.directory = directory.resolve()
        self.port = port or (0 if training else USUAL_PORT)
        self.controller_port = 0
        self._held_port = HeldPort(self.port, port)
        self._held_controller_port = HeldPort(0, None)
        self._held_ports = (self._held_port, self._held_controller_port)
        self._secrets = secrets
        self._password = secrets.get("kafka/admin")
        self._controller_password = secrets.get("kafka/controller")
        self._process = ServerProcess(self.name, self.directory)
        self._training = training
        self._classpath = ""
        self._archive: Archive | None = None
        self._refusal_count = 0

    @property
    def admin_url(self) -> str:
        """Where and as whom the administrator connects; holds the password."""
        return self._address.format()

    def start(self, report: Report) -> None:
        """Start the server, and return when it answers.

        Args:
            report: Told what is being done.

        Raises:
            MissingPartError: Java or Kafka's jars cannot be had.
            StartError: It did not become ready; the message names its log.
            ConfigurationError: The port that was asked for is taken.
        """
        self._refusal_count = 0
        end_orphans(self.directory, "java", signal.SIGTERM, report)
        archive = self.prepare(report)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        port, controller_port = self._held_port.take(), self._held_controller_port.take()
        if port != self.port:
            report(f"port {self.port} is taken, using {port}")
        self.port, self.controller_port = port, controller_port
        data = self.directory / "data"
        if not data.exists():
            report("formatting")
            self._format(data)
        self._write_settings(self.directory / SETTINGS_NAME, data.name)
        report("starting")
        command = [*self._java(), "-cp", self._classpath, "kafka.Kafka", SETTINGS_NAME]
        self._process.start(command, java_environment())
        self._process.wait_until_ready(self._is_ready, START_TIMEOUT_S)
        if not self._training:
            archive.train(self.log)
        report("ready")

    def stop(self, timeout_s: float) -> None:
        """Stop the server in order; kill it if it takes longer than `timeout_s`."""
        with self._archive.ending_training() if self._archive else contextlib.nullcontext():
            super().stop(timeout_s)

    def prepare(self, report: Report) -> Archive:
        """Get what is needed to start: Kafka's jars, downloaded if need be, and Java's archive of them, if there is one.

        Raises:
            MissingPartError: Java or Kafka's jars cannot be had.
        """
        jars = fetch_jars(report)
        self._classpath = ":".join(map(str, jars))
        self._archive = self._archive or Archive(find_java(), jars, JAVA_OPTIONS)
        return self._archive

    def __repr__(self) -> str:
        return f"KafkaServer(directory={str(self.directory)!r}, port={self.port}, pid={self.pid})"

    @property
    def _address(self) -> KafkaAddress:
        return KafkaAddress((f"{LOOPBACK}:{self.port}",), ADMIN, self._password, SASL_PLAIN_TEXT)

    def archive_command(self, record: Path, archive: Path) -> list[str]:
        """Give the command that makes Java's archive of what a training run recorded."""
        options = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={record}", f"-XX:AOTCache={archive}"]
        return [*tied(), str(find_java()), *JAVA_OPTIONS, *options, "-cp", self._classpath]

    def _java(self) -> list[str]:
        java = [str(find_java()), *JAVA_OPTIONS, *LOGGING]
        if self._training:
            return [*tied(), *java, "-XX:AOTMode=record", f"-XX:AOTConfiguration={self._training}"]
        return [*java, *(self._archive.options() if self._archive else [])]

    def _format(self, data: Path) -> None:
        """Make the data beside its place and move it there, so that what was interrupted is never taken for whole."""
        unfinished = data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(randomness.token_bytes(16)).decode().rstrip("=")
        with tempfile.TemporaryDirectory(prefix="freehold-") as private:
            settings = self._write_settings(Path(private) / SETTINGS_NAME, unfinished.name)
            # In a file, because anybody on the machine can read a command line.
            arguments = Path(private) / "arguments"
            write_private(
                arguments,
                f'-cp "{self._classpath}" kafka.tools.StorageTool format --config "{settings}" '
                f'--cluster-id={cluster} --add-scram "SCRAM-SHA-256=[name={ADMIN},password={self._password}]"',
            )
            java = [str(find_java()), *JAVA_OPTIONS, *LOGGING, *(self._archive.options() if self._archive else [])]
            self._process.make_data(
                [*java, f"@{arguments}"],
                directory=self.directory,
                limit_s=FORMAT_TIMEOUT_S,
                environment=java_environment(),
            )
        unfinished.rename(data)

    def _write_settings(self, file: Path, data: str) -> Path:
        ports, passwords = (self.port, self.controller_port), (self._password, self._controller_password)
        write_private(file, format_settings(data, ports, passwords))
        return file

    def _is_ready(self) -> bool:
        if not is_listening(self.port):
            return False
        refusals: list[KafkaError] = []
        settings: dict[str, Any] = {
            "log_level": "0",
            "socket.connection.setup.timeout.ms": "1000",
            "error_cb": refusals.append,
        }
        client = AdminClient({**self._address.client_config(), **settings})
        try:
            return bool(client.list_topics(timeout=ATTEMPT_TIMEOUT_S).brokers)
        except KafkaException:
            client.poll(0)  # hands over what befell the connection
            self._refusal_count += any(error.code() == KafkaError._AUTHENTICATION for error in refusals)
            if self._refusal_count >= REFUSALS_MAX:
                raise refused(self.name, self._secrets.file) from None
            return False


def java_environment() -> dict[str, str]:
    """Give an environment in which Java finds paths that hold more than ASCII; in the locale "C" it does not."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}
