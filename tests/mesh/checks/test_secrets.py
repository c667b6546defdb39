"""Secrets: what they hold, and when they are needed."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.validate import validate_delete
from mesh.view import View
from tests.mesh.checks.documents import faults, only


def secret(name: str, data: str = "eA==") -> dict[str, Any]:
    return {"type": "Secret", "mesh": "default", "name": name, "data": data}


def mesh(backend: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Mesh",
        "name": "default",
        "mtls": {"enabledBackend": backend["name"], "backends": [backend]},
    }


@pytest.mark.parametrize("data", ["e", "ä", "eA=", "!!!!"])
def test_data_is_base64(data: str) -> None:
    assert faults(secret("a", data)) == only("data", "has to be base64-encoded bytes")


def test_data_may_be_empty() -> None:
    assert faults(secret("a", "")) == []
    assert decode(secret("a")).spec.value() == b"x"
    assert decode(secret("a", "!")).spec.value() == b""


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("default.ca-builtin-cert-ca-1", {"name": "ca-1", "type": "builtin"}),
        ("default.ca-builtin-key-ca-1", {"name": "ca-1", "type": "builtin"}),
        (
            "my-ca-cert",
            {"name": "ca-2", "type": "provided", "conf": {"cert": {"secret": "my-ca-cert"}, "key": {}}},
        ),
    ],
)
def test_a_secret_in_use_stays(name: str, backend: dict[str, Any]) -> None:
    view = View.of([decode(mesh(backend)), decode(secret(name)), decode(secret("other"))])
    (error,) = validate_delete(decode(secret(name)), view)
    assert error == (
        "name",
        f'The secret "{name}" that you are trying to remove is currently in use in Mesh "default" in mTLS backend '
        f'"{backend["name"]}". Please remove the reference from the "{backend["name"]}" backend before removing the '
        "secret.",
    )
    assert validate_delete(decode(secret("other")), view) == []


def test_a_mesh_with_dataplanes_stays() -> None:
    member = decode({"type": "Dataplane", "mesh": "a", "name": "dp", "networking": {"address": "1.1.1.1"}})
    first, second = decode({"type": "Mesh", "name": "a"}), decode({"type": "Mesh", "name": "b"})
    view = View.of([first, second, member])
    message = "unable to delete mesh, there are still some dataplanes attached"
    assert validate_delete(first, view) == only("mesh", message)
    assert validate_delete(second, view) == []
    assert validate_delete(member, view) == []
