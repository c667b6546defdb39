"""Parts of a proxy on the command line: the layout, and policies and routes of what it names."""

from __future__ import annotations

import pytest

from tests.cp.cli.conftest import Cli, Ran
from tests.cp.conftest import Api


async def with_mesh(api: Api) -> None:
    """A mesh of resources: web, which is a client of api; a route and a timeout."""
    mesh = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}
    await api.put("/meshes/default", mesh | {"meshServices": {"mode": "Exclusive"}})
    inbound = {"port": 8080, "name": "main", "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http"}}
    networking: dict[str, object] = {"address": "10.0.0.1", "inbound": [inbound]}
    networking["transparentProxying"] = {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}
    await put(api, "dataplanes", "Dataplane", "web", networking=networking)
    ports = [{"port": 80, "targetPort": 80, "appProtocol": "http", "name": "http"}]
    selector = {"dataplaneTags": {"kuma.io/service": "api"}}
    await put(api, "meshservices", "MeshService", "api", spec={"ports": ports, "selector": selector})
    to = {"kind": "MeshService", "name": "api"}
    rules = [{"default": {"connectionTimeout": "7s"}}]
    await put(api, "meshtimeouts", "MeshTimeout", "in", spec={"rules": rules})
    element = {"targetRef": to, "default": {"connectionTimeout": "8s"}}
    await put(api, "meshtimeouts", "MeshTimeout", "out", spec={"to": [element]})
    match = {"path": {"type": "PathPrefix", "value": "/v1"}}
    rule = {"matches": [match], "default": {}}
    await put(api, "meshhttproutes", "MeshHTTPRoute", "v1", spec={"to": [{"targetRef": to, "rules": [rule]}]})


async def put(api: Api, path: str, kind: str, name: str, **fields: object) -> None:
    body = {"type": kind, "mesh": "default", "name": name, **fields}
    answer = await api.put(f"/meshes/default/{path}/{name}", body)
    assert answer.status == 201, answer.text


async def inspected(api: Api, cli: Cli, *flags: str) -> Ran:
    return await cli("inspect", "dataplane", "web", *flags, api=api)


def kri(layout: str, way: str) -> str:
    return next(line.split()[3] for line in layout.splitlines() if line.startswith(way))


async def test_from_the_layout_to_the_policies_and_routes_of_its_parts(api: Api, cli: Cli) -> None:
    await with_mesh(api)
    layout = (await inspected(api, cli, "--type", "layout")).out
    assert layout.splitlines()[0].split() == ["WAY", "PORT", "PROTOCOL", "KRI", "IN", "ENVOY"]
    inbound, outbound = kri(layout, "INBOUND"), kri(layout, "OUTBOUND")
    assert "self_inbound_dp_main" in layout
    ran = await inspected(api, cli, "--type", "policies", "--inbound", inbound)
    assert "connectionTimeout: 7s" in ran.out
    ran = await inspected(api, cli, "--type", "policies", "--outbound", outbound)
    assert "connectionTimeout: 8s" in ran.out
    ran = await inspected(api, cli, "--type", "routes", "--outbound", outbound)
    assert "value: /v1" in ran.out
    route = next(
        line.split("kri: ")[1].strip() for line in ran.out.splitlines() if "kri: kri_mhttpr_" in line
    )
    ran = await inspected(api, cli, "--type", "policies", "--outbound", outbound, "--route", route)
    assert ran.status == 0, ran.err
    ran = await inspected(api, cli, "--type", "rules", "-o", "json")
    assert '"toResourceRules"' in ran.out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--type", "routes"), "--type=routes needs --outbound"),
        (("--route", "kri"), "--route needs --outbound"),
        (("--inbound", "a", "--outbound", "b"), "exclude each other"),
        (("--type", "stats", "--outbound", "b"), "need --type=policies or --type=routes"),
        (("--type", "layout", "--outbound", "b"), "of the whole proxy"),
    ],
)
async def test_what_does_not_go_together(api: Api, cli: Cli, flags: tuple[str, ...], told: str) -> None:
    ran = await inspected(api, cli, *flags)
    assert ran.status == 1
    assert told in ran.err
