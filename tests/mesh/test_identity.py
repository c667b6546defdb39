"""Identities of proxies: which MeshIdentity counts, and the SPIFFE ID that it gives."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.identity import identity_for, is_ready, spiffe_id, trust_domain
from mesh.resource import Resource
from mesh.templates import TemplateError
from mesh.view import View


def identity(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Resource:
    selector = {"dataplane": {"matchLabels": labels}} if labels is not None else {}
    return decode({"type": "MeshIdentity", "name": name, "spec": {"selector": selector, **spec}})


def dataplane(**labels: str) -> Resource:
    document = {"type": "Dataplane", "name": "dp", "labels": labels, "networking": {"address": "10.0.0.1"}}
    return decode(document)


def chosen(proxy: Resource, *identities: Resource) -> str:
    found = identity_for(View.of([proxy, *identities]), proxy)
    return found.name if found is not None else ""


def test_the_most_labels_win() -> None:
    proxy = dataplane(app="web", team="a")
    everybody, precise = identity("everybody", {}), identity("precise", {"app": "web", "team": "a"})
    assert chosen(proxy, everybody, identity("half", {"app": "web"}), precise) == "precise"
    assert chosen(proxy, everybody, identity("other", {"app": "db"})) == "everybody"


def test_among_equals_the_first_by_name_wins() -> None:
    proxy = dataplane(app="web", team="a")
    assert chosen(proxy, identity("b", {"app": "web"}), identity("a", {"team": "a"})) == "a"


def test_what_selects_nothing_is_nobody_s_identity() -> None:
    assert chosen(dataplane(app="web"), identity("a")) == ""
    assert chosen(dataplane(app="web"), identity("a", {"app": "db"})) == ""


def test_the_defaults_of_the_templates() -> None:
    proxy = dataplane(**{"kuma.io/workload": "web"})
    assert spiffe_id(identity("a", {}), proxy, "east") == "spiffe://default.east.mesh.local/workload/web"


def test_the_zone_of_the_identity_counts_before_the_local_one() -> None:
    document = {"type": "MeshIdentity", "name": "a", "labels": {"kuma.io/zone": "west"}, "spec": {}}
    assert trust_domain(decode(document), "east") == "default.west.mesh.local"


def test_own_templates() -> None:
    own = {"trustDomain": "{{ .Mesh }}.corp", "path": '/{{ label "app" }}'}
    given = identity("a", {}, spiffeID=own)
    assert spiffe_id(given, dataplane(app="web"), "east") == "spiffe://default.corp/web"
    with pytest.raises(TemplateError, match="app"):
        spiffe_id(given, dataplane(), "east")


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), (None, False)])
def test_readiness_is_a_condition(status: str | None, ready: bool) -> None:
    document: dict[str, Any] = {"type": "MeshIdentity", "name": "a", "spec": {}}
    if status:
        condition = {"type": "Ready", "status": status, "reason": "r", "message": "m"}
        document["status"] = {"conditions": [condition]}
    assert is_ready(decode(document)) is ready
