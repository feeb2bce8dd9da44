"""Every test that needs a real server carries the mark `services`, so that the quick ones can be run by themselves."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "freehold_servers" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.services)
    # Files with servers take longest: they come first, so that no worker is left alone with one of them at the end.
    long = {item.path for item in items if item.get_closest_marker("services")}
    items.sort(key=lambda item: item.path not in long)
