"""Which proxy a token admits: name, mesh, tags, workload, zone and scope."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cp.admission import TokenAdmission
from cp.config import load
from cp.live import LiveView
from cp.tokens import ZONE, dataplane_claims, issue, key_document, new_key, of_dataplanes, zone_claims
from mesh.codec import decode
from mesh.view import View
from raftstore.memory import MemoryStore
from tests.cp.test_api_crud import dataplane
from xds.source import NodeInfo, Refused

NOW = 1_700_000_000
KEYS = of_dataplanes("default")
PEM = new_key()


def admission(*documents: dict[str, Any], **environ: str) -> TokenAdmission:
    live = LiveView(MemoryStore())
    known = [key_document(KEYS, PEM), key_document(ZONE, PEM), *documents]
    live.view = View.of([decode(document) for document in known], 1)
    return TokenAdmission(live, load(None, environ).config, lambda: float(NOW))


def token(**claims: Any) -> dict[str, str]:
    given = dataplane_claims("", "", {}, "") | claims
    reader = View.of([decode(key_document(KEYS, PEM))], 1)
    return {"authorization": issue(reader, KEYS, given, NOW, 60)}


def zone_token(zone: str, *scope: str) -> dict[str, str]:
    reader = View.of([decode(key_document(ZONE, PEM))], 1)
    return {"authorization": "Bearer " + issue(reader, ZONE, zone_claims(zone, scope), NOW, 60)}


def node(document: dict[str, Any] | None = None, name: str = "dp-1") -> NodeInfo:
    metadata = {"dataplane.resource": json.dumps(document)} if document else {}
    return NodeInfo(f"default.{name}", metadata=metadata)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"Name": "dp-1", "Mesh": "default"},
        {"Tags": {"kuma.io/service": ["web", "api"]}},
        {"Type": "dataplane"},
        {"Workload": "shop"},
    ],
)
async def test_an_empty_claim_allows_anything_and_others_must_fit(claims: dict[str, Any]) -> None:
    brought = dataplane(**{"kuma.io/workload": "shop"})
    await admission().admit(node(brought), token(**claims))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"Name": "dp-2"}, "proxy name from requestor: dp-1 is different than in token: dp-2"),
        ({"Mesh": "other"}, "proxy mesh from requestor: default is different than in token: other"),
        ({"Tags": {"kuma.io/service": ["api"]}}, "not allowed with this token. Allowed values in token are [api]"),
        ({"Tags": {"version": ["v1"]}}, "dataplane has no tag 'version' required by the token"),
        ({"Type": "ingress"}, "the token is for a proxy of type 'ingress'"),
        ({"Workload": "shop"}, "workload of the proxy:  is different than in token: shop"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_said(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        await admission().admit(node(dataplane()), token(**claims))
    assert caught.value.code == "UNAUTHENTICATED"
    assert caught.value.detail.startswith("authentication failed: ")
    assert reason in caught.value.detail


async def test_a_token_cannot_take_over_a_name_with_other_tags() -> None:
    stored = dataplane()
    stored["networking"]["inbound"][0]["tags"]["kuma.io/service"] = "bank"
    with pytest.raises(Refused, match="'bank' which is not allowed"):
        await admission(stored).admit(node(dataplane()), token(Tags={"kuma.io/service": ["web"]}))


async def test_no_token_and_nonsense() -> None:
    for headers in ({}, {"authorization": "nonsense"}):
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await admission().admit(node(dataplane()), headers)
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        await admission().admit(node({"networking": 5}), token())
    await admission(RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_TYPE="none").admit(node(dataplane()), {})


async def test_zone_proxies_show_a_zone_token() -> None:
    ingress = NodeInfo(".zi-1", metadata={"dataplane.proxyType": "ingress"})
    await admission().admit(ingress, zone_token("default", "ingress"))
    await admission().admit(ingress, zone_token("", "ingress", "egress"))
    for refused in (zone_token("other", "ingress"), zone_token("default", "egress"), token()):
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            await admission().admit(ingress, refused)
