"""Every test that needs a real server carries the mark `services`, so that the quick ones can be run by themselves."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "freehold_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.services)
