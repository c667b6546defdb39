"""Inspection over HTTP: paths, pages, and what is said when something is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cp.conftest import Api

BASE = "/meshes/default"


async def filled(api: Api, **mesh: Any) -> None:
    """A mesh with two proxies, a service behind one of them, and a policy for both."""
    body = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"], **mesh}
    documents = {"/meshes/default": body}
    for name in ("web-1", "db-1"):
        tags = {"kuma.io/service": name.partition("-")[0], "app": name.partition("-")[0]}
        networking = {"address": "10.0.0.1", "inbound": [{"port": 80, "name": "main", "tags": tags}]}
        documents[f"{BASE}/dataplanes/{name}"] = {"type": "Dataplane", "networking": networking}
    ports = [{"port": 80, "targetPort": 80, "appProtocol": "http"}]
    spec = {"selector": {"dataplaneTags": {"app": "web"}}, "ports": ports}
    documents[f"{BASE}/meshservices/web"] = {"type": "MeshService", "spec": spec}
    to = [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "2s"}}]
    documents[f"{BASE}/meshtimeouts/slow"] = {"type": "MeshTimeout", "spec": {"to": to}}
    for path, document in documents.items():
        named = {"name": path.rpartition("/")[2], "mesh": "default"} | document
        answer = await api.put(path, named)
        assert answer.status == 201, answer.text


EXCLUSIVE = {"meshServices": {"mode": "Exclusive"}}


async def test_rules_and_layout_of_a_proxy(api: Api) -> None:
    await filled(api, **EXCLUSIVE)
    rules = (await api.get(f"{BASE}/dataplanes/web-1/_rules")).json
    assert [rule["type"] for rule in rules["rules"]] == ["MeshTimeout"]
    layout = (await api.get(f"{BASE}/dataplanes/web-1/_layout")).json
    assert [each["port"] for each in layout["outbounds"]] == [80]
    outbound = layout["outbounds"][0]["kri"]
    policies = (await api.get(f"{BASE}/dataplanes/web-1/_outbounds/{outbound}/_policies")).json
    assert [each["conf"] for each in policies["policies"]] == [[{"connectionTimeout": "2s"}]]


async def test_the_past_is_inspected_like_the_present(api: Api) -> None:
    await filled(api)
    index = (await api.delete(f"{BASE}/meshtimeouts/slow")).index
    path = f"{BASE}/dataplanes/web-1/_rules"
    assert (await api.get(path)).json["rules"] == []
    assert len((await api.get(f"{path}?at={index - 1}")).json["rules"]) == 1


async def test_the_older_paths(api: Api) -> None:
    await filled(api)
    attached = (await api.get(f"{BASE}/meshtimeouts/slow/dataplanes")).json
    assert [item["dataplane"]["name"] for item in attached["items"]] == ["db-1", "web-1"]
    policies = (await api.get(f"{BASE}/dataplanes/web-1/policies")).json
    assert "MeshTimeout" in policies["items"][-1]["matchedPolicies"]
    rules = (await api.get(f"{BASE}/dataplanes/web-1/rules")).json
    assert [item["policyType"] for item in rules["items"]] == ["MeshTimeout"]
    for missing in ("dataplanes/web-9/rules", "dataplanes/web-9/policies", "meshtimeouts/fast/dataplanes"):
        assert (await api.get(f"{BASE}/{missing}")).status == 404
    assert (await api.get(f"{BASE}/meshservices/web/dataplanes")).status == 404


async def test_affected_proxies_in_pages(api: Api) -> None:
    await filled(api)
    path = f"{BASE}/meshtimeouts/slow/_resources/dataplanes"
    everything = (await api.get(path)).json
    assert [item["name"] for item in everything["items"]] == ["db-1", "web-1"]
    assert "next" not in everything
    first = (await api.get(f"{path}?size=1")).json
    assert first["next"].endswith("offset=1&size=1")
    page = (await api.get(f"{path}?size=1&offset=1")).json
    assert (page["total"], [item["name"] for item in page["items"]]) == (2, ["web-1"])
    assert (await api.get(f"{path}?name=db")).json["total"] == 1


async def test_proxies_of_a_service(api: Api) -> None:
    await filled(api)
    for suffix in ("_dataplanes", "_resources/dataplanes"):
        found = (await api.get(f"{BASE}/meshservices/web/{suffix}")).json
        assert [item["name"] for item in found["items"]] == ["web-1"]


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/meshes/nope/dataplanes/web-1/_rules", 404, "Failed to retrieve Mesh"),
        (f"{BASE}/dataplanes/nope/_rules", 404, "Could not retrieve Dataplane"),
        (f"{BASE}/meshgateways/nope/_rules", 404, "Could not retrieve MeshGateway"),
        (f"{BASE}/dataplanes/nope/_layout", 404, "Failed to retrieve Dataplane"),
        (f"{BASE}/dataplanes/web-1/_rules?shadow=maybe", 400, "Bad Request"),
        (f"{BASE}/dataplanes/web-1/_inbounds/nope/_policies", 400, "Bad Request"),
        (f"{BASE}/dataplanes/web-1/_outbounds/kri_x_default___a_/_routes", 400, "Bad Request"),
        (f"{BASE}/meshservices/nope/_hostnames", 404, "could not retrieve service"),
        (f"{BASE}/secrets/nope/_resources/dataplanes", 404, "Not Found"),
        (f"{BASE}/meshservices/web/_dataplanes?filter[labels.a][eq]=b", 400, "Could not retrieve resources"),
    ],
)
async def test_what_is_not_there(api: Api, path: str, status: int, title: str) -> None:
    await filled(api, **EXCLUSIVE)
    answer = await api.get(path)
    assert (answer.status, answer.json["title"]) == (status, title), answer.text


async def test_a_mesh_without_services_has_no_layout(api: Api) -> None:
    await filled(api)
    for suffix in ("_layout", "_policies"):
        answer = await api.get(f"{BASE}/dataplanes/web-1/{suffix}")
        assert answer.status == 400
        assert f"can't use {suffix} endpoint" in answer.json["detail"]


async def test_a_template_that_cannot_be_rendered_is_told(api: Api) -> None:
    await filled(api)
    selector = {"meshService": {"matchLabels": {}}}
    spec = {"template": '{{ label "team" }}.local', "selector": selector}
    generator = {"type": "HostnameGenerator", "name": "g", "spec": spec}
    assert (await api.put("/hostnamegenerators/g", generator)).status == 201
    answer = await api.get(f"{BASE}/meshservices/web/_hostnames")
    assert (answer.status, answer.json["title"]) == (500, "could not generate hostname")
    assert "team" in answer.json["detail"]


async def test_counts_of_meshes_follow_what_is_there(api: Api) -> None:
    await filled(api)
    assert (await api.get("/mesh-insights/default")).json["dataplanes"]["total"] == 2
    assert (await api.get("/mesh-insights?name=fau")).json["total"] == 1
    assert (await api.get("/mesh-insights/nope")).status == 404
    assert (await api.get("/global-insight")).json["dataplanes"]["standard"]["offline"] == 2
    await api.delete(f"{BASE}/dataplanes/web-1")
    services = (await api.get(f"{BASE}/service-insights")).json
    assert [item["name"] for item in services["items"]] == ["db"]
