"""Generated credentials, kept in one file that only its owner can read."""

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import ConfigurationError

PASSWORD_BYTES = 24  # 192 bits: beyond guessing, and 32 url-safe characters that no format needs to escape


class Secrets:
    """Credentials by name, each generated when it is first asked for and the same ever after.

    Guarantees: several threads and several processes may ask at once; they are given the same answer.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> str:
        """Give the password of this name, made now if there is none.

        Args:
            name: Whose it is, such as `postgres/admin`.
        """
        with self._lock:
            if name not in self._known:
                with self._exclusive():
                    self._known = self._read()
                    if name not in self._known:
                        self._known[name] = secrets.token_urlsafe(PASSWORD_BYTES)
                        self._write()
            return self._known[name]

    def __repr__(self) -> str:
        return f"Secrets({str(self.file)!r})"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the other processes off: the file is read, extended and replaced as one step."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self.file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            # Not chained: a JSON error quotes what it could not read.
            raise ConfigurationError(
                f"the credentials in {self.file} cannot be read as JSON; restore the file, or reset the data"
            ) from None
        return found

    def _write(self) -> None:
        write_private(self.file, json.dumps(self._known, indent=2) + "\n")


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replacement = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.new")
    descriptor = os.open(replacement, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    replacement.replace(file)
