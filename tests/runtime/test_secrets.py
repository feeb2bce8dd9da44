import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from freehold.errors import ConfigurationError
from freehold.runtime.provision.secrets import Secrets


def test_secret_stays_the_same_and_differs_from_the_others(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    first = Secrets(file).get("postgres/admin")

    assert Secrets(file).get("postgres/admin") == first
    assert Secrets(file).get("mongo/admin") != first
    assert len(first) >= 32


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "new" / "secrets.json")
    value = secrets.get("postgres/admin")

    assert stat.S_IMODE(secrets.file.stat().st_mode) == 0o600
    assert value not in repr(secrets)


def test_askers_at_the_same_time_are_given_the_same(tmp_path: Path) -> None:
    """Each asker has an object of its own, as each process would."""
    names = [f"service/{number % 5}" for number in range(100)]
    with ThreadPoolExecutor(20) as pool:
        values = list(pool.map(lambda name: (name, Secrets(tmp_path / "secrets.json").get(name)), names))

    assert len(set(values)) == 5


@pytest.mark.parametrize("text", ['{"postgres/admin": "hunter2', '["hunter2"]', '{"postgres/admin": ["hunter2"]}'])
def test_damaged_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        Secrets(file).get("postgres/admin")

    assert str(file) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert file.read_text() == text
