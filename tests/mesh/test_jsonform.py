"""Structs as plain values, times as text."""

from __future__ import annotations

import pytest

from mesh.codec import decode
from mesh.jsonform import plain, rfc3339


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_500, "1970-01-01T00:00:01.5Z"),
        (1_700_000_000_000, "2023-11-14T22:13:20Z"),
    ],
)
def test_times_are_written_as_go_writes_them(time_ms: int, text: str) -> None:
    assert rfc3339(time_ms) == text


def test_structs_become_dicts_and_lists() -> None:
    spec = decode({"type": "Dataplane", "name": "a", "networking": {"inbound": [{"port": 1}]}}).spec
    assert plain(spec) == {"networking": {"inbound": [{"port": 1}]}}
    assert type(plain(spec)["networking"]["inbound"]) is list
