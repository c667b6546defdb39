"""Go durations: parsing, printing, and their canonical spelling in plain values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.durations import canonical, format_ns, parse_ns, plain
from tests.mesh.policy.resources import policy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0", "0s"),
        ("0s", "0s"),
        ("60s", "1m0s"),
        ("1h", "1h0m0s"),
        ("90m", "1h30m0s"),
        ("1h0.5m", "1h0m30s"),
        ("1500ms", "1.5s"),
        ("250ms", "250ms"),
        ("1.5ms", "1.5ms"),
        ("2us", "2µs"),
        ("15ns", "15ns"),
        ("-90s", "-1m30s"),
        (".5s", "500ms"),
        ("1.s", "1s"),
    ],
)
def test_canonical_spelling(text: str, shown: str) -> None:
    assert canonical(text) == shown


@settings(deadline=None)
@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_what_is_printed_is_read_back(total: int) -> None:
    assert parse_ns(format_ns(total)) == total


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "1s ", "--1s", "1m-1s", "."])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_ns(text)


def test_typed_specs_become_plain_values_with_canonical_durations() -> None:
    timeout = policy(
        "MeshTimeout",
        "t",
        {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "90s"}}}]},
    )
    assert plain(timeout.spec) == {
        "to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "1m30s"}}}]
    }


def test_only_durations_are_rewritten() -> None:
    health = policy(
        "MeshHealthCheck",
        "h",
        {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"interval": "60s", "http": {"path": "60s"}}}]},
    )
    (to,) = plain(health.spec)["to"]
    assert to["default"] == {"interval": "1m0s", "http": {"path": "60s"}}
