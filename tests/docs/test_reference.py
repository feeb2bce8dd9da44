"""A page that follows from the code says what the code says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["library.md", "commands.md", "problems.md", "drills.md"])
def test_reference_page_is_up_to_date(page: str) -> None:
    written = (DOCS / "reference" / page).read_text()

    assert written == build().PAGES[page](), "run `.venv/bin/python docs/build.py` and read the difference"
