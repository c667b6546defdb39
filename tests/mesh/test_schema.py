"""Schemas say what decoding accepts."""

from __future__ import annotations

import pytest

from mesh.registry import KINDS
from mesh.schema import components, fields, json_schema, reference


def test_one_component_per_kind() -> None:
    schemas = components()
    assert list(schemas) == list(KINDS)
    for name, schema in schemas.items():
        assert schema["properties"]["type"]["enum"] == [name]
        assert ("mesh" in schema["properties"]) == (KINDS[name].scope == "mesh")
        assert ("spec" in schema["properties"]) == KINDS[name].wrapped


def test_bounds_defaults_and_descriptions() -> None:
    schema = json_schema(KINDS["MeshExternalService"])
    match = schema["properties"]["spec"]["properties"]["match"]
    assert match["required"] == ["port"]
    assert match["properties"]["port"] == {"type": "integer", "minimum": 1, "maximum": 65535}
    protocol = match["properties"]["protocol"]
    assert protocol == {"type": "string", "enum": ["grpc", "http", "http2", "tcp"], "default": "tcp"}
    assert schema["description"].startswith("A destination outside the mesh")
    assert schema["properties"]["status"]["readOnly"] is True
    assert schema["title"] == "MeshExternalService"


def test_durations_and_unions() -> None:
    rows = {row.path: row for row in fields(KINDS["MeshTimeout"])}
    assert rows["spec.to[].default.idleTimeout"].type == "duration"
    ports = {row.path: row for row in fields(KINDS["MeshService"])}
    assert ports["spec.ports[].targetPort"].type == "integer or string"
    assert ports["spec.selector.dataplaneTags"].type == "map of string"


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_has_a_reference_page(name: str) -> None:
    kind = KINDS[name]
    page = reference(kind)
    assert page.startswith(f"# {name}\n")
    for row in fields(kind):
        assert f"| `{row.path}` |" in page
