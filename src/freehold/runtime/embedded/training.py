"""The run that makes Java's archive for Kafka: `python -m freehold.runtime.embedded.training` (see archive.py)."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from freehold.errors import FreeholdError
from freehold.runtime.embedded.kafka import KafkaServer, java_environment
from freehold.runtime.provision.secrets import Secrets
from freehold.topic.address import KafkaAddress

LOWEST_PRIORITY = 19
ARCHIVES_KEPT = 3  # of some 70 MB each
RECORD_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 120.0
REQUEST_TIMEOUT_S = 20.0
TOPIC = "training"
RECORD_COUNT = 1_000


def train() -> Path:
    """Make the archive, unless it is there; when another process is at it, wait for that."""
    with tempfile.TemporaryDirectory(prefix="freehold-training-") as scratch:
        place, record = Path(scratch), Path(scratch) / "kafka.record"
        server = KafkaServer(place / "kafka", secrets=Secrets(place / "secrets.json"), training=record)
        archive = server.prepare(lambda _: None).file
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (archive.parent / "training.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not archive.exists():
                try:
                    server.start(lambda _: None)
                    _exercise(server.admin_url)
                    server.stop(RECORD_TIMEOUT_S)
                finally:
                    server.stop(0)  # if something went wrong: at once
                result = place / "kafka.aot"
                command = server.archive_command(record, result)
                subprocess.run(
                    command, env=java_environment(), stdout=subprocess.DEVNULL, check=True, timeout=WRITE_TIMEOUT_S
                )
                _keep(result, archive)
    return archive


def _exercise(url: str) -> None:
    """Have the broker do what it will do later, so that its first times are in the archive as well."""
    config = {**KafkaAddress.parse(url).client_config(), "log_level": "0"}
    admin = AdminClient({**config})
    for future in admin.create_topics([NewTopic(TOPIC, 1, 1)]).values():
        future.result(REQUEST_TIMEOUT_S)
    producer = Producer({**config, "enable.idempotence": True})
    for _ in range(RECORD_COUNT):
        producer.produce(TOPIC, b"value", key=b"key")
    producer.flush(REQUEST_TIMEOUT_S)
    consumer = Consumer({**config, "group.id": TOPIC, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([TOPIC])
        if consumer.consume(1, REQUEST_TIMEOUT_S):
            consumer.commit(asynchronous=False)
    finally:
        consumer.close()


def _keep(result: Path, archive: Path) -> None:
    """Put the archive in its place in one step, and remove the oldest ones."""
    incoming = archive.with_suffix(".new")
    incoming.unlink(missing_ok=True)
    incoming.write_bytes(result.read_bytes())
    incoming.replace(archive)
    others = sorted(archive.parent.glob("kafka-*.aot"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for old in others[ARCHIVES_KEPT:]:
        old.unlink(missing_ok=True)


def main() -> int:
    """Make the archive and say so; a kill in between ends the broker that is being trained.

    With `--while-open` it runs beside other work: it lets that go first, and gives up when its standard input is closed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if "--while-open" in sys.argv[1:]:
        os.nice(LOWEST_PRIORITY)
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        archive = train()
    except (FreeholdError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"Java's archive for Kafka could not be made, starts stay slower: {error}\n")
        return 1
    sys.stdout.write(f"{archive}\n")
    return 0


def _end_with_input() -> None:
    # Not through its buffer: Python aborts when it ends while a thread reads there.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
