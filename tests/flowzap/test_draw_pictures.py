"""The pictures in docs are what drawing gives."""

import importlib.util
from pathlib import Path

from tests.flowzap.drawings import ROOT


def test_committed_pictures_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted: dict[Path, str] = dict(module.pictures())

    stale = [path.name for path, picture in wanted.items() if not path.exists() or path.read_text() != picture]
    assert stale == [], "run `.venv/bin/python docs/pictures.py` and look at the pictures"
    assert set((ROOT / "docs" / "diagrams").glob("*.svg")) == set(wanted)
