"""Documents go in and come out again, in all their forms, and never with a surprise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.codec import (
    decode,
    decode_value,
    encode_value,
    to_document,
    to_json,
    to_kubernetes,
    unknown_fields,
)
from mesh.errors import BadRequest, FieldError, Invalid, Undecodable
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.validate import validate, warnings
from tests.mesh import strategies

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


# What "absent" means in wrapped kinds, and in flat ones, where zero values are never written.
ABSENT: list[Any] = [[], "", 0, False, None]
ZERO = ["DELEGATED", "Ready", "UnSpecified", "STRICT", "Disabled", "not_available", "internal", "NONE"]


def missing(sent: Any, kept: Any, path: str = "", absent: list[Any] = ABSENT) -> list[str]:
    """Paths of what was sent and is not kept."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        gone = [f"{path}.{key}" for key, value in sent.items() if key not in kept and value not in absent]
        both = [key for key in sent if key in kept]
        return gone + [p for key in both for p in missing(sent[key], kept[key], f"{path}.{key}", absent)]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        pairs = enumerate(zip(sent, kept, strict=True))
        return [p for n, pair in pairs for p in missing(*pair, f"{path}[{n}]", absent)]
    return [] if sent == kept else [path]


@QUICK
@given(strategies.documents)
def test_what_decodes_comes_back_as_it_was_sent(document: dict[str, Any]) -> None:
    resource = decode(document)
    written = to_document(resource)
    absent = ABSENT if KINDS[resource.kind].wrapped else ABSENT + ZERO
    assert missing(document, written, absent=absent) == []
    again = decode(written)
    assert again.spec == resource.spec
    if resource.status is not None:
        assert again.status == resource.status


@QUICK
@given(strategies.documents, st.integers(0, 2**50), st.integers(0, 2**44))
def test_stored_values_round_trip(document: dict[str, Any], version: int, time_ms: int) -> None:
    resource = decode(document)
    value = encode_value(resource)
    stored = decode_value(resource.key, value, version, time_ms, time_ms)
    assert (stored.spec, stored.status, dict(stored.labels)) == (
        resource.spec,
        resource.status,
        dict(resource.labels),
    )
    assert (stored.version, stored.created_ms, stored.key) == (version, time_ms, resource.key)
    assert encode_value(stored) == value


@QUICK
@given(strategies.documents, st.integers(0, 2**44))
def test_the_text_of_a_resource_is_that_of_its_document(document: dict[str, Any], time_ms: int) -> None:
    resource = replace(decode(document), version=1, created_ms=time_ms, modified_ms=time_ms)
    assert json.loads(to_json(resource)) == to_document(resource)


def test_fields_of_flat_kinds_are_none_of_the_head() -> None:
    """Their text is joined to that of the head, and no member may be there twice."""
    head = {
        "type",
        "mesh",
        "name",
        "creationTime",
        "modificationTime",
        "labels",
        "kri",
        "snis",
        "spec",
        "status",
    }
    for kind in KINDS.values():
        if not kind.wrapped:
            assert not head & {field.encode_name for field in msgspec.structs.fields(kind.spec_type)}, (
                kind.name
            )


@QUICK
@given(strategies.documents)
def test_kubernetes_manifests_mean_the_same(document: dict[str, Any]) -> None:
    resource = decode(document)
    again = decode(to_kubernetes(resource))
    assert again.key == resource.key
    assert again.spec == resource.spec


@QUICK
@given(strategies.documents, st.data())
def test_faults_are_told_never_raised_otherwise(document: dict[str, Any], data: st.DataObject) -> None:
    spoiled = spoil(document, data)
    try:
        resource = decode(spoiled)
    except Invalid as invalid:
        assert invalid.errors
        assert all(error.reason for error in invalid.errors)
        return
    except BadRequest:
        return
    for error in validate(resource):
        assert isinstance(error, FieldError)
        assert error.reason
    assert all(isinstance(warning, str) for warning in warnings(resource))


def spoil(value: Any, data: st.DataObject) -> Any:
    """The value with one part anywhere replaced by arbitrary JSON."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: spoil(value[key], data)}
    if isinstance(value, list) and value:
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoil(value[at], data), *value[at + 1 :]]
    return data.draw(strategies.JSON)


@QUICK
@given(strategies.JSON)
def test_any_json_is_answered(document: Any) -> None:
    try:
        decode(document)
    except (Invalid, BadRequest) as error:
        assert str(error)


def test_all_faults_are_reported_with_their_paths() -> None:
    document = {
        "type": "Dataplane",
        "name": 1,
        "networking": {"inbound": [{"port": "x", "state": "Foo"}, {"port": -1, "tags": []}]},
    }
    with pytest.raises(Invalid) as caught:
        decode(document)
    assert caught.value.errors == (
        FieldError("name", 'in body must be of type string: "number"'),
        FieldError("networking.inbound[0].port", 'in body must be of type integer: "string"'),
        FieldError("networking.inbound[0].state", "in body should be one of [Ignored NotReady Ready]"),
        FieldError("networking.inbound[1].port", "in body should be greater than or equal to 0"),
        FieldError("networking.inbound[1].tags", 'in body must be of type object: "array"'),
    )


def test_the_url_fills_in_and_must_agree() -> None:
    document = {"type": "Secret", "data": "eA=="}
    assert decode(document, kind="Secret", mesh="m", name="s").key == ResourceKey("Secret", "m", "s")
    other = {"type": "Dataplane", "mesh": "other", "name": "x", "networking": {}}
    with pytest.raises(Invalid) as caught:
        decode(other, kind="Secret", mesh="m", name="s")
    reason = "from the URL has to be the same as in body"
    assert caught.value.errors == tuple(
        FieldError(field, f"{field} {reason}") for field in ("type", "mesh", "name")
    )


def test_mesh_of_a_document_without_one_is_default() -> None:
    assert decode({"type": "Dataplane", "name": "a"}).mesh == "default"
    assert decode({"type": "Zone", "name": "a", "mesh": "ignored"}).mesh == ""


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, 'no "type"'),
        ({"type": "Nonsense"}, '"Nonsense"'),
        ({"type": ["Mesh"]}, "invalid resource type"),
        ([], "has to be an object, not array"),
        ({"type": "Mesh", "name": object()}, "cannot be represented as JSON"),
        ({"type": "Mesh", "name": "\ud800"}, "cannot be represented as JSON"),
    ],
)
def test_what_is_no_resource_is_refused(document: Any, text: str) -> None:
    with pytest.raises(Undecodable, match=text):
        decode(document)


@pytest.mark.parametrize("levels", [70, 500, 900, 950, 990, 1010, 100_000])
def test_deeply_nested_documents_are_refused(levels: int) -> None:
    nested: Any = "x"
    for _ in range(levels):
        nested = [nested]
    with pytest.raises(BadRequest, match=r"nests deeper than 64 levels|cannot be represented"):
        decode({"type": "DataplaneInsight", "name": "m", "metadata": {"a": nested}})


def test_wide_documents_are_not_deep() -> None:
    inbound = [{"port": n, "tags": {"kuma.io/service": "a"}} for n in range(1, 200)]
    document = {"type": "Dataplane", "name": "a", "networking": {"inbound": inbound}}
    assert len(decode(document).spec.networking.inbound) == 199


def test_large_documents_are_refused() -> None:
    with pytest.raises(Undecodable, match="bytes; at most"):
        decode({"type": "Secret", "name": "a", "data": "x" * (4 * 1024 * 1024)})


def test_null_means_absent() -> None:
    document = {
        "type": "Dataplane",
        "name": "a",
        "networking": {"address": "1.1.1.1", "inbound": None, "admin": None},
    }
    assert decode(document).spec.networking.inbound == ()


def test_schema_defaults_are_filled_in_and_written() -> None:
    spec = {"match": {"port": 80}}
    resource = decode({"type": "MeshExternalService", "name": "a", "spec": spec})
    assert to_document(resource)["spec"] == {
        "match": {"type": "HostnameGenerator", "port": 80, "protocol": "tcp"}
    }


def test_unknown_fields_are_dropped_and_can_be_named() -> None:
    document = {
        "type": "Dataplane",
        "name": "a",
        "networking": {"adress": "1.1.1.1", "inbound": [{"prot": 1}]},
    }
    assert unknown_fields(document) == ["networking.adress", "networking.inbound[0].prot"]
    assert to_document(decode(document))["networking"] == {"inbound": [{}]}


def test_head_of_a_document() -> None:
    labels = {"kuma.io/zone": "z", "kuma.io/display-name": "shown", "a": "b"}
    resource = Resource("MeshTrust", "m", "t", labels, decode(trust()).spec, None, 3, 1531843516995, 0)
    document = to_document(resource)
    assert list(document)[:7] == ["type", "mesh", "name", "creationTime", "modificationTime", "labels", "kri"]
    assert document["creationTime"] == "2018-07-17T16:05:16.995Z"
    assert document["modificationTime"] == "0001-01-01T00:00:00Z"
    assert document["kri"] == "kri_mtrust_m_z__shown_"
    assert list(document["labels"]) == sorted(labels)
    assert document["status"] == {}


def trust() -> dict[str, Any]:
    bundle = {"type": "Pem", "pem": {"value": "x"}}
    return {"type": "MeshTrust", "name": "t", "spec": {"trustDomain": "d", "caBundles": [bundle]}}


def test_unreadable_stored_values_say_so() -> None:
    with pytest.raises(Undecodable, match="unknown kind"):
        decode_value(ResourceKey("Old", "", "x"), b"{}", 1, 0, 0)
    with pytest.raises(Undecodable, match="cannot be read"):
        decode_value(ResourceKey("Mesh", "", "x"), b"{", 1, 0, 0)


def test_values_are_readable_json() -> None:
    value = json.loads(encode_value(decode({"type": "Zone", "name": "z", "enabled": False})))
    assert value == {"spec": {"enabled": False}}


def test_every_kind_has_a_minimal_document() -> None:
    assert {kind for kind in KINDS if KINDS[kind].scope == "global"} >= {
        "Mesh",
        "Zone",
        "GlobalSecret",
        "Config",
    }
