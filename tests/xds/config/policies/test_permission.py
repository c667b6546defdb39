"""MeshTrafficPermission: who gets in, and that nobody does by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, TCP_IN, Sidecar, rules
from tests.xds.config.worlds import policy
from xds.config.policies.permission import predicate

KIND = "MeshTrafficPermission"


def permissions(*entries: tuple[dict[str, Any], str]) -> dict[str, Any]:
    found = [{"targetRef": target, "default": {"action": action}} for target, action in entries]
    return policy(KIND, "p", from_=found)


def rbac(sidecar: Sidecar) -> dict[str, Any]:
    http: dict[str, Any] = sidecar.http_filter(HTTP_IN, "rbac")["typedConfig"]
    tcp = dict(sidecar.listener(TCP_IN)["filterChains"][0]["filters"][0]["typedConfig"])
    tcp.pop("statPrefix")
    assert {k: v for k, v in tcp.items() if k != "@type"} == {k: v for k, v in http.items() if k != "@type"}
    return http


def principals(sidecar: Sidecar) -> Any:
    return rbac(sidecar)["rules"]["policies"][KIND]["principals"]


def exact(name: str) -> dict[str, Any]:
    return {"authenticated": {"principalName": {"exact": name}}}


def test_nobody_gets_in_without_a_permission() -> None:
    assert rbac(Sidecar())["rules"] == {}


def test_without_mtls_there_is_no_guard() -> None:
    sidecar = Sidecar(
        permissions(({"kind": "Mesh"}, "Allow")), settings={"meshServices": {"mode": "Exclusive"}}
    )
    assert sidecar.filters(HTTP_IN) == ["router"]


def test_everybody() -> None:
    assert principals(Sidecar(permissions(({"kind": "Mesh"}, "Allow")))) == [{"any": True}]


def test_services_and_tags_are_names_in_certificates() -> None:
    sidecar = Sidecar(
        permissions(
            ({"kind": "MeshService", "name": "api"}, "Allow"),
            ({"kind": "MeshSubset", "tags": {"team": "a"}}, "Deny"),
        )
    )
    assert principals(sidecar) == [
        {"andIds": {"ids": [exact("spiffe://default/api"), {"notId": exact("kuma://team/a")}]}}
    ]


def test_a_denied_part_of_the_mesh() -> None:
    sidecar = Sidecar(
        permissions(({"kind": "Mesh"}, "Allow"), ({"kind": "MeshSubset", "tags": {"team": "a"}}, "Deny"))
    )
    assert principals(sidecar) == [{"notId": exact("kuma://team/a")}]


def test_shadow_denial_allows_and_counts() -> None:
    sidecar = Sidecar(permissions(({"kind": "Mesh"}, "AllowWithShadowDeny")))
    assert principals(sidecar) == [{"any": True}]
    assert rbac(sidecar)["shadowRules"]["action"] == "DENY"


def spiffe(kind: str, value: str) -> dict[str, Any]:
    return {"spiffeID": {"type": kind, "value": value}}


def test_by_identity_any_denial_is_first() -> None:
    allow = rules(KIND, {"allow": [spiffe("Prefix", "spiffe://d/")]}, name="a-allow")
    deny = rules(
        KIND, {"deny": [spiffe("Exact", "spiffe://d/x"), spiffe("Exact", "spiffe://d/y")]}, name="b-deny"
    )
    found = rbac(Sidecar(allow, deny))["matcher"]
    first, second = found["matcherList"]["matchers"]
    assert first["onMatch"]["action"]["typedConfig"] == {
        "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
        "name": "kri_mtp_default___b-deny_",
        "action": "DENY",
    }
    assert len(first["predicate"]["orMatcher"]["predicate"]) == 2
    assert second["predicate"]["singlePredicate"]["valueMatch"] == {"prefix": "spiffe://d/"}
    assert found["onNoMatch"]["action"]["typedConfig"]["action"] == "DENY"


def test_identity_and_server_name_both_have_to_match() -> None:
    match = spiffe("Exact", "spiffe://d/x") | {"sni": {"type": "Exact", "value": "s"}}
    found = rbac(Sidecar(rules(KIND, {"allow": [match]})))["matcher"]["matcherList"]["matchers"][0]
    assert len(found["predicate"]["andMatcher"]["predicate"]) == 2


@pytest.mark.envoy
@pytest.mark.parametrize(
    "document",
    [
        permissions(({"kind": "Mesh"}, "Allow"), ({"kind": "MeshSubset", "tags": {"team": "a"}}, "Deny")),
        rules(
            KIND,
            {
                "deny": [spiffe("Exact", "spiffe://d/x")],
                "allow": [spiffe("Prefix", "spiffe://d/")],
                "allowWithShadowDeny": [spiffe("Exact", "spiffe://d/z")],
            },
        ),
    ],
)
def test_envoy_accepts(document: dict[str, Any], tmp_path: Path) -> None:
    Sidecar(document).validate(tmp_path)


@pytest.mark.parametrize(
    ("kind", "uris", "matched"),
    [
        ("Exact", "spiffe://default/web,kuma://team/a", True),
        ("Exact", "spiffe://default/web", True),
        ("Exact", "spiffe://default/api,spiffe://default/web", True),
        ("Exact", "spiffe://default/website,kuma://team/a", False),
        ("Prefix", "spiffe://default/api,spiffe://default/website", True),
        ("Prefix", "spiffe://default/api", False),
    ],
)
def test_an_identity_is_found_among_tags(kind: str, uris: str, matched: bool) -> None:
    """Envoy matches all names of a certificate as one text."""
    match = {"spiffeID": {"type": kind, "value": "spiffe://default/web"}}
    value = predicate(match, "default")["single_predicate"]["value_match"]["safe_regex"]["regex"]
    assert (re.fullmatch(value, uris) is not None) == matched


def test_identities_of_others_are_alone_in_their_certificates() -> None:
    match = {"spiffeID": {"type": "Exact", "value": "spiffe://other/web"}}
    assert predicate(match, "default")["single_predicate"]["value_match"] == {"exact": "spiffe://other/web"}
