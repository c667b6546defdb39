"""What holds of all kinds: names, and what is deprecated about them."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.resource import Resource
from mesh.validate import validate, warnings
from mesh.view import View

MESH = decode({"type": "Mesh", "name": "m"})
NOT_A_NAME = (
    "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)


def secret(name: str, mesh: str = "m") -> Resource:
    return Resource("Secret", mesh, name, {}, decode({"type": "Secret", "name": "x"}).spec)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (secret(""), [("name", "cannot be empty")]),
        (secret("A"), [("name", NOT_A_NAME)]),
        (secret("a_b"), [("name", NOT_A_NAME)]),
        (secret(".a"), [("name", NOT_A_NAME)]),
        (secret("a" * 254), [("name", "value length must less or equal 253")]),
        (secret("a", ""), [("mesh", "cannot be empty")]),
        (secret("a.b-c"), []),
    ],
)
def test_names(item: Resource, expected: list[Any]) -> None:
    assert validate(item) == expected


def test_names_of_older_versions_stay_writable() -> None:
    old = secret("a_b")
    assert validate(old, View.of([MESH, old])) == []
    assert validate(old, View.of([MESH])) == [("name", NOT_A_NAME)]


def test_names_that_are_no_dns_labels_are_deprecated() -> None:
    assert warnings(MESH) == []
    (warning,) = warnings(decode({"type": "Mesh", "name": "aa.a"}))
    assert warning.startswith(
        "Invalid Mesh resource name: 'aa.a'. It does not conform to the DNS format (RFC 1035)."
    )
    assert warnings(decode({"type": "Secret", "name": "aa.a"})) == []
