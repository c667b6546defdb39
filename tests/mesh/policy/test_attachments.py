"""The older inspection documents: which policies, at which inbounds, with which merged rules."""

from __future__ import annotations

from typing import Any

from mesh.policy.attachments import attached_dataplanes, attached_policies, flat_rules
from mesh.resource import Resource
from tests.xds.config.worlds import dataplane, mesh, view_of

TARGET = {"kind": "Mesh"}
TIMEOUT = {
    "type": "MeshTimeout",
    "mesh": "default",
    "name": "slow",
    "spec": {
        "targetRef": TARGET,
        "to": [{"targetRef": TARGET, "default": {"connectionTimeout": "2s"}}],
        "from": [{"targetRef": TARGET, "default": {"connectionTimeout": "3s"}}],
    },
}
LIMIT = {
    "type": "MeshRateLimit",
    "mesh": "default",
    "name": "few",
    "spec": {
        "targetRef": {"kind": "MeshSubset", "tags": {"kuma.io/service": "web"}},
        "from": [
            {
                "targetRef": TARGET,
                "default": {"local": {"http": {"requestRate": {"num": 1, "interval": "1s"}}}},
            }
        ],
    },
}
PATCH = {
    "type": "MeshProxyPatch",
    "mesh": "default",
    "name": "patched",
    "spec": {"targetRef": TARGET, "default": {"appendModifications": []}},
}
VIEW = view_of([mesh(), dataplane("web"), dataplane("db"), TIMEOUT, LIMIT, PATCH])


def stored(kind: str, name: str) -> Resource:
    found = VIEW.get(kind, "default", name)
    assert found is not None
    return found


def names(matched: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {kind: [policy["name"] for policy in policies] for kind, policies in matched.items()}


def test_policies_by_attachment() -> None:
    found = attached_policies(VIEW, stored("Dataplane", "web"))
    assert (found["kind"], found["total"]) == ("SidecarDataplane", 2)
    whole, inbound = found["items"]
    assert (inbound["type"], inbound["name"], inbound["service"]) == ("inbound", "192.168.0.1:80:80", "web")
    assert names(inbound["matchedPolicies"]) == {"MeshTimeout": ["slow"], "MeshRateLimit": ["few"]}
    assert whole["type"] == "dataplane"
    assert names(whole["matchedPolicies"]) == {"MeshTimeout": ["slow"], "MeshProxyPatch": ["patched"]}


def test_an_inbound_is_called_by_the_port_behind_it_too() -> None:
    document = dataplane("web")
    document["networking"]["inbound"][0]["servicePort"] = 8080
    view = view_of([mesh(), document, LIMIT])
    proxy = view.get("Dataplane", "default", "web")
    assert proxy is not None
    [item] = attached_policies(view, proxy)["items"]
    assert item["name"] == "192.168.0.1:80:8080"


def test_rules_in_one_list() -> None:
    items = flat_rules(VIEW, stored("Dataplane", "web"))["items"]
    forms = {(item["type"], item["policyType"]) for item in items}
    assert {("SingleItem", "MeshProxyPatch"), ("DestinationSubset", "MeshTimeout")} <= forms
    (limit,) = [item for item in items if item["policyType"] == "MeshRateLimit"]
    assert limit["inbound"]["service"] == "web" and limit["origins"][0]["name"] == "few"
    assert not [
        item
        for item in flat_rules(VIEW, stored("Dataplane", "db"))["items"]
        if "RateLimit" in item["policyType"]
    ]


def test_where_a_policy_attaches() -> None:
    limited = attached_dataplanes(VIEW, stored("MeshRateLimit", "few"))
    assert [item["dataplane"]["name"] for item in limited["items"]] == ["web"]
    assert [each["type"] for each in limited["items"][0]["attachments"]] == ["inbound"]
    both = attached_dataplanes(VIEW, stored("MeshTimeout", "slow"))
    assert both["total"] == 2
    assert [each["type"] for each in both["items"][0]["attachments"]] == ["dataplane", "inbound"]


def test_a_policy_of_what_leaves_is_at_no_inbound() -> None:
    retry = {
        "type": "MeshRetry",
        "mesh": "default",
        "name": "again",
        "spec": {"to": [{"targetRef": TARGET, "default": {"tcp": {"maxConnectAttempt": 3}}}]},
    }
    view = view_of([mesh(), dataplane("web"), retry])
    proxy, policy = view.get("Dataplane", "default", "web"), view.get("MeshRetry", "default", "again")
    assert proxy is not None and policy is not None
    assert [item["type"] for item in attached_policies(view, proxy)["items"]] == ["dataplane"]
    [item] = attached_dataplanes(view, policy)["items"]
    assert item["attachments"] == [{"type": "dataplane", "name": "", "service": ""}]
