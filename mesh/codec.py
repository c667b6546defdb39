"""Documents to resources and back; resources to the bytes of the log and back.

Three forms go in: the flat form of the API and of files (`type`, `mesh`, `name`, then the spec inlined
or under `spec:`), and Kubernetes manifests (`apiVersion`, `kind`, `metadata`, `spec`).  Whatever
goes in is first encoded as JSON, which settles what YAML leaves open (dates, keys that are numbers)
and refuses what is no JSON, then decoded by the compiled decoder of the kind.  Only when that fails
is the document walked for a full list of faults.

The log holds `{"labels", "spec", "status"}` as JSON: the key, version and times are the record's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from mesh import naming, structural
from mesh.errors import FieldError, Invalid, Undecodable
from mesh.jsonform import plain, rfc3339
from mesh.kinds.base import Kind
from mesh.limits import DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX
from mesh.manifests import DEFAULT_MESH, SECRET_TYPES, from_kubernetes, to_kubernetes
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey

__all__ = [
    "DEFAULT_MESH",
    "decode",
    "decode_value",
    "encode_value",
    "rfc3339",
    "to_document",
    "to_json",
    "to_kubernetes",
    "unknown_fields",
]


_encode = msgspec.json.Encoder(order=None).encode
_decode = msgspec.json.Decoder().decode


class _Head(msgspec.Struct, gc=False):
    """What all flat documents have in common; wrong types are reported by the slow path."""

    type: str = ""
    mesh: str = ""
    name: str = ""
    labels: dict[str, str] = {}
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"")


class _HeadFields(msgspec.Struct):
    """The head as the slow path checks it."""

    type: str | None = None
    mesh: str | None = None
    name: str | None = None
    labels: dict[str, str] | None = None


_head_decoder = msgspec.json.Decoder(_Head)


# --- documents ---------------------------------------------------------------------------


def decode(
    document: Mapping[str, Any],
    *,
    kind: str | None = None,
    mesh: str | None = None,
    name: str | None = None,
) -> Resource:
    """Read a document. `kind`, `mesh` and `name`, when given (a URL), fill in and must agree.

    A mesh-scoped document without a mesh belongs to mesh "default". Checks structure only;
    `mesh.validate.validate` checks the meaning.

    Raises Undecodable when it is no resource at all, Invalid with all its faults otherwise.
    """
    raw = _to_json(document)
    declared = _kind_of(document, kind)
    if "apiVersion" in document:
        raw = _encode(from_kubernetes(_decode(raw), declared))
    try:
        resource = _fast(raw, declared)
    except (msgspec.ValidationError, RecursionError):
        resource = _slow(_decode(raw), declared)
    return _agreed(resource, declared, kind, mesh, name)


def _to_json(document: Mapping[str, Any]) -> bytes:
    if not isinstance(document, Mapping):
        raise Undecodable(f"a resource has to be an object, not {structural.json_type(document)}")
    try:
        raw = _encode(document)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Undecodable(f"the document cannot be represented as JSON: {error}") from None
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise Undecodable(f"the document has {len(raw)} bytes; at most {DOCUMENT_BYTES_MAX} are accepted")
    may_be_deep = raw.count(b"{") + raw.count(b"[") > DOCUMENT_DEPTH_MAX
    if may_be_deep and _is_deep(raw):
        raise Undecodable(f"the document nests deeper than {DOCUMENT_DEPTH_MAX} levels")
    return raw


def _is_deep(raw: bytes) -> bool:
    try:
        return _deeper_than(_decode(raw), DOCUMENT_DEPTH_MAX)
    except RecursionError:
        return True


def _deeper_than(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)
    return False


def _kind_of(document: Mapping[str, Any], kind: str | None) -> Kind:
    named = document.get("kind") if "apiVersion" in document else document.get("type")
    if named == "Secret" and document.get("type") == SECRET_TYPES["GlobalSecret"]:
        named = "GlobalSecret"
    if named is None or named == "":
        named = kind
    if named is None:
        raise Undecodable('the document has no "type": the name of its kind, such as Mesh, is required')
    declared = KINDS.get(named) if isinstance(named, str) else None
    if declared is None:
        raise Undecodable(f'invalid resource type "{named}"')
    return declared


def _fast(raw: bytes, kind: Kind) -> Resource:
    head = _head_decoder.decode(raw)
    spec_raw = head.spec if kind.wrapped else raw
    spec = _spec_decoder(kind.name).decode(spec_raw)
    status = None
    if kind.status_type is not None and bytes(head.status) not in (b"", b"null"):
        status = _status_decoder(kind.name).decode(head.status)
    return Resource(kind.name, head.mesh, head.name, head.labels, spec, status)


def _slow(document: dict[str, Any], kind: Kind) -> Resource:
    """Decode a document in which null means absent; raise Invalid with every fault when that fails too."""
    document = _without_nulls(document)
    raw = _encode(document)
    try:
        return _fast(raw, kind)
    except msgspec.ValidationError as error:
        found = structural.faults(_HeadFields, document, "")
        if kind.wrapped:
            found += structural.faults(kind.spec_type, document.get("spec", {}), "spec")
            if kind.status_type is not None and "status" in document:
                found += structural.faults(kind.status_type, document["status"], "status")
        else:
            found += structural.faults(kind.spec_type, document, "")
        root = "spec" if kind.wrapped else ""
        raise Invalid(found or [structural.from_msgspec(error, root)]) from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _agreed(
    resource: Resource, kind: Kind, kind_name: str | None, mesh: str | None, name: str | None
) -> Resource:
    """Fill in what the URL says, and insist that the body says nothing else."""
    errors: list[FieldError] = []
    if kind_name is not None and kind.name != kind_name:
        errors.append(_differs("type"))
    own_mesh, own_name = resource.mesh, resource.name
    if kind.scope == "global":
        own_mesh = ""
    else:
        if mesh and own_mesh and own_mesh != mesh:
            errors.append(_differs("mesh"))
        own_mesh = own_mesh or mesh or DEFAULT_MESH
    if name and own_name and own_name != name:
        errors.append(_differs("name"))
    own_name = own_name or name or ""
    if errors:
        raise Invalid(errors)
    return Resource(kind.name, own_mesh, own_name, resource.labels, resource.spec, resource.status)


def _differs(field: str) -> FieldError:
    return FieldError(field, f"{field} from the URL has to be the same as in body")


def unknown_fields(document: Mapping[str, Any]) -> list[str]:
    """Paths of the fields of a document that its kind does not know and that decoding drops."""
    kind = KINDS.get(document.get("type", ""))
    if kind is None:
        return []
    if kind.wrapped:
        return structural.unknown_fields(kind.spec_type, document.get("spec", {}), "spec")
    own = {key: value for key, value in document.items() if key not in _HEAD_NAMES}
    return structural.unknown_fields(kind.spec_type, own, "")


_HEAD_NAMES = frozenset({"type", "mesh", "name", "labels", "creationTime", "modificationTime", "kri"})


def to_document(resource: Resource) -> dict[str, Any]:
    """The JSON object of the API: type, mesh, name, times, labels, kri, then the spec."""
    kind = KINDS[resource.kind]
    document: dict[str, Any] = {"type": resource.kind}
    if kind.scope == "mesh":
        document["mesh"] = resource.mesh
    document["name"] = resource.name
    document["creationTime"] = rfc3339(resource.created_ms)
    document["modificationTime"] = rfc3339(resource.modified_ms)
    if resource.labels:
        document["labels"] = {key: resource.labels[key] for key in sorted(resource.labels)}
    if kind.short:
        document["kri"] = naming.kri_of(resource)
    if kind.is_destination:
        snis = naming.snis(resource)
        if snis:
            document["snis"] = snis
    spec = plain(resource.spec)
    if not kind.wrapped:
        document.update(spec)
        return document
    document["spec"] = spec
    if kind.status_type is not None:
        document["status"] = plain(resource.status or kind.status_type())
    return document


class _Told(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    """`to_document` as one struct, in its order, so that one call encodes it."""

    type: str
    mesh: str | msgspec.UnsetType
    name: str
    creation_time: str
    modification_time: str
    labels: dict[str, str] | None = None
    kri: str | None = None
    snis: Any = None
    spec: Any = None
    status: Any = None


def to_json(resource: Resource) -> bytes:
    """The JSON text of `to_document`, in a fifth of the time: lists of thousands are made of these."""
    kind = KINDS[resource.kind]
    labels = resource.labels
    told = _Told(
        resource.kind,
        resource.mesh if kind.scope == "mesh" else msgspec.UNSET,
        resource.name,
        rfc3339(resource.created_ms),
        rfc3339(resource.modified_ms),
        {key: labels[key] for key in sorted(labels)} if labels else None,
        naming.kri_of(resource) if kind.short else None,
        (naming.snis(resource) or None) if kind.is_destination else None,
    )
    if not kind.wrapped:
        spec = _encode(resource.spec)
        return b"%b,%b" % (_encode(told)[:-1], spec[1:]) if len(spec) > 2 else _encode(told)
    told.spec = resource.spec
    if kind.status_type is not None:
        told.status = resource.status or kind.status_type()
    return _encode(told)


# --- what the log holds ------------------------------------------------------------------


@cache
def _stored_type(kind: str) -> type[msgspec.Struct]:
    declared = KINDS[kind]
    status = Any if declared.status_type is None else declared.status_type
    return msgspec.defstruct(
        f"Stored{kind}",
        [("spec", declared.spec_type), ("labels", dict[str, str], {}), ("status", status | None, None)],
        omit_defaults=True,
        gc=False,
    )


@cache
def _stored_decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_stored_type(kind))


@cache
def _spec_decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(KINDS[kind].spec_type)


@cache
def _status_decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(KINDS[kind].status_type)


_encode_stored = msgspec.json.Encoder(order="deterministic").encode


def encode_value(resource: Resource) -> bytes:
    """What the log stores of a resource. Equal resources have equal bytes."""
    stored = _stored_type(resource.kind)
    return _encode_stored(stored(resource.spec, dict(resource.labels), resource.status))


def decode_value(key: ResourceKey, value: bytes, version: int, created_ms: int, modified_ms: int) -> Resource:
    """A resource from its record. `key` may be any (kind, mesh, name).

    Raises Undecodable for a kind or bytes that this version cannot read.
    """
    kind, mesh, name = key
    if kind not in KINDS:
        raise Undecodable(f'the log holds a resource of unknown kind "{kind}"')
    try:
        stored = _stored_decoder(kind).decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undecodable(f"the stored {kind} {mesh}/{name} cannot be read: {error}") from None
    return Resource(
        kind, mesh, name, stored.labels, stored.spec, stored.status, version, created_ms, modified_ms
    )
