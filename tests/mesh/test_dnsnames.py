"""Kubernetes' rules for names and labels."""

from __future__ import annotations

import pytest

from mesh import dnsnames


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ("app", 0),
        ("kuma.io/zone", 0),
        ("A_b.c-D", 0),
        ("kuma.io/Not Valid!", 1),
        ("", 2),
        ("/a", 1),
        ("a/b/c", 1),
        ("UPPER/a", 1),
        ("a/" + "b" * 64, 1),
        ("-a", 1),
    ],
)
def test_label_keys(key: str, count: int) -> None:
    assert len(list(dnsnames.label_key_faults(key))) == count


@pytest.mark.parametrize(
    ("value", "count"), [("", 0), ("a_B.c-1", 0), ("not valid!!", 1), ("a" * 64, 1), ("-", 1)]
)
def test_label_values(value: str, count: int) -> None:
    assert len(list(dnsnames.label_value_faults(value))) == count


@pytest.mark.parametrize(
    ("name", "good"), [("a", True), ("a-1", True), ("1a", False), ("a.b", False), ("a\n", False)]
)
def test_1035_labels(name: str, good: bool) -> None:
    assert dnsnames.is_1035_label(name) is good
    assert (dnsnames.label_1035_faults(name) == []) is good


@pytest.mark.parametrize(
    ("name", "good"), [("a.b-c.1", True), ("a..b", False), ("A", False), ("a" * 254, False)]
)
def test_1123_subdomains(name: str, good: bool) -> None:
    assert dnsnames.is_1123_subdomain(name) is good
    assert (dnsnames.subdomain_faults(name) == []) is good


def test_1123_labels() -> None:
    assert dnsnames.is_1123_label("1a")
    assert not dnsnames.is_1123_label("a.b")
