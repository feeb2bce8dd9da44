import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.errors import MissingPartError
from freehold.runtime.embedded.libraries import fetch_jars, find_cache, find_package, read_jars

NOBODY_LISTENS = "http://127.0.0.1:1"
FETCH = """
import sys
from freehold.errors import MissingPartError
from freehold.runtime.embedded.libraries import fetch_jars
try:
    paths = fetch_jars(lambda text: print("said", text))
    print("jars", len(paths), all(path.exists() for path in paths), "jgo" in sys.modules)
except MissingPartError as error:
    print("missing", error)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A local repository that has every jar, so that nothing needs the network."""
    jars = dict(zip(read_jars(), fetch_jars(lambda _: None), strict=True))
    for jar, path in jars.items():
        folder = tmp_path / "repository" / jar.group.replace(".", "/") / jar.artifact / jar.version
        folder.mkdir(parents=True)
        (folder / path.name).symlink_to(path)
    return tmp_path / "repository"


def fetch_without_network(cache: Path, repository: Path) -> str:
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "M2_REPO": str(repository),
        "http_proxy": NOBODY_LISTENS,
        "https_proxy": NOBODY_LISTENS,
        "no_proxy": "",
    }
    command = [sys.executable, "-c", FETCH]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_fetched_jars_need_neither_network_nor_downloader(tmp_path: Path, repository: Path) -> None:
    count = len(read_jars())
    first = fetch_without_network(tmp_path / "cache", repository)
    second = fetch_without_network(tmp_path / "cache", tmp_path / "empty")

    assert f"said downloading Kafka: {count} of {count} jars" in first
    assert second == f"jars {count} True False\n"


def test_jar_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    said = fetch_without_network(tmp_path / "cache", tmp_path / "empty")

    assert said.startswith("missing Kafka's library ")
    assert any(str(jar) in said for jar in read_jars())
    assert "check the network" in said
    assert list((tmp_path / "cache" / "freehold" / "jars").iterdir()) == []


def test_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path, repository: Path) -> None:
    swapped = next(repository.rglob("kafka-clients-*.jar"))
    right = swapped.read_bytes()
    swapped.unlink()
    swapped.write_bytes(right[:-1] + b"x")
    said = fetch_without_network(tmp_path / "cache", repository)

    assert "missing Kafka's library org.apache.kafka:kafka-clients" in said
    assert "is not the one that was pinned" in said
    assert not list((tmp_path / "cache" / "freehold" / "jars").glob("kafka-clients-*"))


def test_half_a_jar_is_fetched_again(tmp_path: Path, repository: Path) -> None:
    fetch_without_network(tmp_path / "cache", repository)
    jar = next((tmp_path / "cache").rglob("slf4j-api-*.jar"))
    whole = jar.read_bytes()
    jar.write_bytes(whole[:100])
    said = fetch_without_network(tmp_path / "cache", repository)

    assert "said downloading Kafka: 1 of 1 jars" in said
    assert jar.read_bytes() == whole


def test_cache_that_cannot_be_made_is_named(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    said = fetch_without_network(tmp_path / "cache", repository)

    assert said.startswith(f"missing Kafka's libraries cannot be kept in {tmp_path}/cache/freehold/jars")
    assert "XDG_CACHE_HOME" in said


def test_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert find_cache() == tmp_path / "freehold"


def test_package_that_is_not_installed_is_named() -> None:
    for module in ("no_such_package", "no_such_package.inside"):
        with pytest.raises(MissingPartError, match="install the package no-such-package"):
            find_package(module, "It", "no-such-package")
