"""Java's archive of what Kafka loads and links at its start (JDK 25's AOT cache): later starts take half the time.

To make one takes a training run and some ten seconds of one core, most of them when that run ends. No start and no
stop of a real server waits for that: a run of its own, on scratch data and at the lowest priority, trains in the
background of the first start, or beforehand: `python -m freehold.runtime.embedded.training`.
"""

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from freehold.runtime.embedded.libraries import find_cache

STOP_TIMEOUT_S = 2.0
TRAIN = (sys.executable, "-m", "freehold.runtime.embedded.training")


class Archive:
    """The archive that fits a Java, a set of jars, and options; or the place where it would be.

    Java itself checks that an archive fits, and goes on without one that does not; the name only keeps them apart.
    """

    def __init__(self, java: Path, jars: list[Path], options: list[str]) -> None:
        identity = list(options)
        for file in [java.parent.parent / "lib" / "modules", *jars]:
            identity += [str(file), str(file.stat().st_mtime_ns)]
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
        self.file = find_cache() / "archives" / f"kafka-{digest}.aot"
        self._training: subprocess.Popen[bytes] | None = None

    def options(self) -> list[str]:
        """Give what makes Java use the archive, if it is there."""
        return [f"-XX:AOTCache={self.file}"] if self.file.exists() else []

    def train(self, log: Path) -> None:
        """Make the archive in the background, if it is not there."""
        if self.file.exists() or self._training is not None:
            return
        with log.open("ab") as output:
            self._training = subprocess.Popen(
                [*TRAIN, "--while-open"],
                stdin=subprocess.PIPE,  # closed when this process is gone, however it went
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def ending_training(self) -> Iterator[None]:
        """End the training that goes on, beside what is done meanwhile; the next start begins it anew."""
        training, self._training = self._training, None
        if training is None:
            yield
            return
        training.terminate()
        try:
            yield
        finally:
            try:
                training.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                training.kill()  # the broker that it started ends with it
                training.wait(STOP_TIMEOUT_S)
            if training.stdin is not None:
                training.stdin.close()
