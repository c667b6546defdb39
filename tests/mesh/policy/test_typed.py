"""Merged confs become the typed values of their kinds."""

from __future__ import annotations

import msgspec
import pytest

from mesh.kinds.policies import KINDS
from mesh.kinds.policies.meshtimeout import Http
from mesh.policy.kinds import BY_NAME
from mesh.policy.typed import CONF_TYPES, typed, typed_permission


def test_all_policies_have_a_conf_type_and_agree_with_their_declaration() -> None:
    assert set(CONF_TYPES) == set(BY_NAME) == {kind.name for kind in KINDS}
    for kind in KINDS:
        known = BY_NAME[kind.name]
        declared = (kind.order, kind.has_to, kind.has_from, kind.has_rules)
        assert declared == (known.order, known.has_to, known.has_from, known.has_rules), kind.name


def test_a_merged_conf_is_typed() -> None:
    assert typed("MeshTimeout", {"http": {"requestTimeout": "5s"}}).http == Http(request_timeout="5s")


def test_routes_are_typed_as_a_whole() -> None:
    route = typed("MeshHTTPRoute", {"rules": [{"matches": [{"method": "GET"}], "default": {}}]})
    assert route.rules[0].matches[0].method == "GET"


def test_permissions_by_identity_have_their_own_type() -> None:
    conf = typed_permission({"allow": [{"spiffeID": {"type": "Exact", "value": "spiffe://a/b"}}]})
    assert conf.allow[0].spiffe_id.value == "spiffe://a/b"


def test_what_merging_made_impossible_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="backends"):
        typed("MeshTrace", {"backends": [{"type": "Zipkin"}, {"type": "Zipkin"}]})
