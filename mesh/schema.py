"""JSON Schema and OpenAPI components of the kinds, generated from their declarations.

Schemas are written out in full, without references: kinds are trees, and a reader of one kind wants
to see all of it in one place (so does an editor that completes YAML from it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import NODEFAULT
from msgspec import inspect as mi

from mesh.kinds.base import Kind, Model
from mesh.limits import MESH_NAME_CHARS_MAX, NAME_CHARS_MAX
from mesh.registry import KINDS

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Not "duration", by which JSON Schema means ISO 8601.
_GO_DURATION = "go-duration"
_BOUNDS = (("ge", "minimum"), ("le", "maximum"), ("gt", "exclusiveMinimum"), ("lt", "exclusiveMaximum"))
_TEXT_BOUNDS = (("min_length", "minLength"), ("max_length", "maxLength"), ("pattern", "pattern"))
_ITEM_BOUNDS = (("min_length", "minItems"), ("max_length", "maxItems"))


def json_schema(kind: Kind) -> Schema:
    """The schema of the documents of a kind, to be used by itself."""
    return {"$schema": _DRAFT, "title": kind.name, **document_schema(kind)}


def components() -> dict[str, Schema]:
    """`components.schemas` of an OpenAPI 3.1 document: one schema per kind, by its name."""
    return {kind.name: document_schema(kind) for kind in KINDS.values()}


def document_schema(kind: Kind) -> Schema:
    """The schema of the whole document: head, spec and status."""
    properties: dict[str, Schema] = {"type": {"type": "string", "enum": [kind.name]}}
    required = ["type", "name"]
    if kind.scope == "mesh":
        properties["mesh"] = {"type": "string", "maxLength": MESH_NAME_CHARS_MAX, "default": "default"}
    properties["name"] = {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX}
    properties["labels"] = {"type": "object", "additionalProperties": {"type": "string"}}
    for moment in ("creationTime", "modificationTime"):
        properties[moment] = {"type": "string", "format": "date-time", "readOnly": True}
    if kind.short:
        properties["kri"] = {"type": "string", "readOnly": True}
    spec = schema_of(kind.spec_type)
    if kind.wrapped:
        properties["spec"] = spec
        if kind.status_type is not None:
            properties["status"] = {**schema_of(kind.status_type), "readOnly": True}
    else:
        properties |= spec["properties"]
        required += spec.get("required", [])
    schema: Schema = {"type": "object", "required": required, "properties": properties}
    description = kind.description or spec.get("description", "")
    return {"description": description, **schema} if description else schema


@lru_cache(maxsize=256)
def schema_of(declared: type[Model]) -> Schema:
    """The schema of a struct."""
    return _schema(mi.type_info(declared))


def _schema(info: mi.Type) -> Schema:
    if isinstance(info, mi.Metadata):
        inner = _schema(info.type)
        is_duration = (info.extra or {}).get("format") == "duration"
        return inner | {"format": _GO_DURATION} if is_duration else inner
    if isinstance(info, mi.StructType):
        return _object(info)
    if isinstance(info, mi.UnionType):
        return _union(info)
    if isinstance(info, mi.VarTupleType | mi.ListType):
        return {"type": "array", "items": _schema(info.item_type), **_bounds(info, _ITEM_BOUNDS)}
    if isinstance(info, mi.DictType):
        return {"type": "object", "additionalProperties": _schema(info.value_type)}
    if isinstance(info, mi.LiteralType):
        return {"type": "string" if isinstance(info.values[0], str) else "integer", "enum": list(info.values)}
    if isinstance(info, mi.StrType):
        return {"type": "string", **_bounds(info, _TEXT_BOUNDS)}
    if isinstance(info, mi.IntType):
        return {"type": "integer", **_bounds(info, _BOUNDS)}
    if isinstance(info, mi.FloatType):
        return {"type": "number", **_bounds(info, _BOUNDS)}
    return {"type": "boolean"} if isinstance(info, mi.BoolType) else {}


def _bounds(info: Any, names: tuple[tuple[str, str], ...]) -> Schema:
    found = ((schema, getattr(info, attribute)) for attribute, schema in names)
    return {schema: value for schema, value in found if value is not None}


def _union(info: mi.UnionType) -> Schema:
    """Optional is no type of its own in a document: a field that is null is a field that is absent."""
    options = [_schema(option) for option in info.types if not isinstance(option, mi.NoneType)]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _object(info: mi.StructType) -> Schema:
    schema: Schema = {"type": "object"}
    description = description_of(info.cls)
    if description:
        schema["description"] = description
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        schema["required"] = required
    schema["properties"] = {field.encode_name: _property(field) for field in info.fields}
    return schema


def _property(field: mi.Field) -> Schema:
    schema = _schema(field.type)
    default = schema_default(field)
    return schema if default is None else {**schema, "default": default}


def schema_default(field: mi.Field) -> Any:
    """The value that is filled in for an absent field, or None."""
    constant = getattr(field.default_factory, "value", None)
    if field.default_factory is not NODEFAULT and constant is not None:
        return constant
    return None


def description_of(declared: type) -> str:
    """The docstring of a struct as one line of prose."""
    return " ".join((declared.__dict__.get("__doc__") or "").split())


# --- the flat form, for reference pages --------------------------------------------------


class FieldRow(NamedTuple):
    """One field of a kind as a reference shows it. path: `spec.to[].default.idleTimeout`."""

    path: str
    type: str
    constraints: str
    description: str


def fields(kind: Kind) -> list[FieldRow]:
    """Every field of a kind's spec and status, in document order of their declaration."""
    rows: list[FieldRow] = []
    spec = schema_of(kind.spec_type)
    if not kind.wrapped:
        rows += _children(spec, "")
        return rows
    rows += _rows("spec", spec, required=False)
    if kind.status_type is not None:
        rows += _rows("status", schema_of(kind.status_type), required=False)
    return rows


def _rows(path: str, schema: Mapping[str, Any], *, required: bool) -> Iterator[FieldRow]:
    yield FieldRow(path, _type_text(schema), _constraints(schema, required), schema.get("description", ""))
    inner, suffix = schema, ""
    while inner.get("type") == "array":
        inner, suffix = inner["items"], suffix + "[]"
    yield from _children(inner, path + suffix)


def _children(schema: Mapping[str, Any], path: str) -> Iterator[FieldRow]:
    required = set(schema.get("required", ()))
    for name, child in schema.get("properties", {}).items():
        yield from _rows(f"{path}.{name}" if path else name, child, required=name in required)


def _type_text(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type_text(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type_text(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type_text(schema['additionalProperties'])}"
    if schema.get("format") == _GO_DURATION:
        return "duration"
    return str(schema.get("type", "any"))


def _constraints(schema: Mapping[str, Any], required: bool) -> str:
    parts = ["required"] if required else []
    if "enum" in schema:
        parts.append("one of " + ", ".join(str(value) for value in schema["enum"]))
    if "default" in schema:
        parts.append(f"default {schema['default']}")
    for name in ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"):
        if name in schema:
            parts.append(f"{name} {schema[name]}")
    return "; ".join(parts)


def reference(kind: Kind) -> str:
    """The reference page of a kind, as Markdown."""
    where = f"/meshes/{{mesh}}/{kind.path}" if kind.scope == "mesh" else f"/{kind.path}"
    lines = [f"# {kind.name}", ""]
    about = kind.description or description_of(kind.spec_type)
    if about:
        lines += [about, ""]
    if kind.path:
        lines += [f"Path: `{where}`", ""]
    lines += ["| field | type | constraints | meaning |", "|---|---|---|---|"]
    for row in fields(kind):
        cells = (f"`{row.path}`", row.type, row.constraints, row.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
