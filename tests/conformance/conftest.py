"""Lets `-k` choose a suite by its own name: `ctl-get` means test_ctl_get."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names with hyphens, as the suites have them, are keywords of their tests, too."""
    for item in items:
        item.extra_keyword_matches.add(item.nodeid.replace("_", "-"))
