"""Doors between meshes: what members of one mesh get, and what the gateway of the other asks of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.envoy_check import validate
from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.source import Source
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

TAGS = {"kuma.io/service": "edge"}
HOST = "shop.mesh"
DNS = {"features": ["feature-embedded-dns"]}


def authority(name: str) -> dict[str, Any]:
    data = base64.b64encode(f"-----{name}-----".encode()).decode()
    return {"type": "Secret", "mesh": name, "name": f"{name}.ca-builtin-cert-ca-1", "data": data}


def world(*listeners: dict[str, Any], **client: Any) -> list[dict[str, Any]]:
    """A gateway in `default`, and a client in `other`."""
    gateway = {"type": "MeshGateway", "mesh": "default", "name": "edge", "selectors": [{"match": TAGS}]}
    networking = {"address": "192.168.0.9", "gateway": {"type": "BUILTIN", "tags": TAGS}}
    spec = {
        "targetRef": {"kind": "MeshGateway", "name": "edge"},
        "to": [
            {
                "targetRef": {"kind": "Mesh"},
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "default": {"backendRefs": [{"kind": "MeshService", "name": "web", "port": 80}]},
                    }
                ],
            }
        ],
    }
    return [
        mesh(mtls=MTLS),
        mesh("other", mtls=MTLS),
        authority("default"),
        authority("other"),
        gateway | {"conf": {"listeners": list(listeners or (CROSSING,))}},
        {"type": "Dataplane", "mesh": "default", "name": "edge-1", "networking": networking},
        {"type": "MeshHTTPRoute", "mesh": "default", "name": "r", "spec": spec},
        dataplane("web", 80),
        mesh_service("web", 80),
        dataplane("client", 8080, mesh="other", networking=client or TRANSPARENT),
    ]


CROSSING = {"port": 8080, "protocol": "HTTP", "hostname": HOST, "crossMesh": True}


def config(found: list[dict[str, Any]], name: str, of_mesh: str, **metadata: Any) -> dict[str, Any]:
    source = Source(view_of(found))
    stream = source.connect(node(name, mesh=of_mesh, **metadata), lambda deltas: None)
    assert not source.failures
    return rendered(stream.snapshot())


def client(found: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    return config(found, "client", "other", **metadata)


def names(socket: dict[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """Who may be at the other end: the secret of authorities, and names."""
    context = socket["typedConfig"]["commonTlsContext"]["combinedValidationContext"]
    matched = context["defaultValidationContext"]["matchTypedSubjectAltNames"]
    return context["validationContextSdsSecretConfig"]["name"], [each["matcher"] for each in matched]


def outbounds(found: dict[str, Any], port: int = 8080) -> list[str]:
    return [name for name in found[LISTENER] if name.startswith("outbound:") and name.endswith(f":{port}")]


def test_a_member_reaches_the_gateway_of_another_mesh() -> None:
    found = client(world())
    (name,) = outbounds(found)
    manager = found[LISTENER][name]["filterChains"][0]["filters"][0]["typedConfig"]
    (route,) = manager["routeConfig"]["virtualHosts"][0]["routes"]
    cluster = found[CLUSTER][route["route"]["cluster"]]
    ca, sans = names(cluster["transportSocket"])
    assert (ca, sans) == ("mesh_ca:secret:default", [{"exact": "spiffe://default/edge"}])
    (place,) = found[ENDPOINT][cluster["name"]]["endpoints"]
    address = place["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    assert address == {"address": "192.168.0.9", "portValue": 8080}


def test_it_knows_the_authority_of_the_other_mesh() -> None:
    secret = client(world())[SECRET]["mesh_ca:secret:default"]
    roots = base64.b64decode(secret["validationContext"]["trustedCa"]["inlineBytes"])
    assert roots == b"-----default-----\n"


def records(found: dict[str, Any]) -> dict[str, list[str]]:
    text = json.dumps(found[LISTENER]["_kuma:dynamicconfig"])
    body = json.loads(text)["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0]
    (inline,) = [
        route["directResponse"]["body"]["inlineString"]
        for route in body["routes"]
        if route["directResponse"]["status"] == 200
    ]
    return {each["name"]: each["ips"] for each in json.loads(inline)["records"]}


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [(HOST, HOST), ("", "internal.edge.default.mesh"), ("*", "internal.edge.default.mesh")],
)
def test_its_name_has_the_address_of_the_listener(hostname: str, expected: str) -> None:
    found = client(world({**CROSSING, "hostname": hostname}), **DNS)
    (address,) = records(found)[expected]
    assert outbounds(found) == [f"outbound:{address}:8080"]


def test_without_transparent_proxying_it_is_declared_by_tags() -> None:
    outbound = {"port": 9000, "tags": {**TAGS, "kuma.io/mesh": "default"}}
    found = client(world(outbound=[outbound]))
    assert outbounds(found, 9000) == ["outbound:127.0.0.1:9000"]
    assert "mesh_ca:secret:default" in found[SECRET]


@pytest.mark.parametrize(
    "change",
    [
        {"crossMesh": False},
        {"hostname": "*.mesh"},
    ],
)
def test_what_is_no_door_is_not_reached(change: dict[str, Any]) -> None:
    assert not outbounds(client(world({**CROSSING, **change})))


@pytest.mark.parametrize("without", [0, 1])
def test_both_meshes_need_certificates(without: int) -> None:
    found = world()
    del found[without]["mtls"]
    assert not outbounds(client(found))


def test_a_mesh_does_not_reach_its_own_door() -> None:
    found = [*world(), dataplane("inside", 8080, networking=TRANSPARENT)]
    assert not outbounds(config(found, "inside", "default"))


def test_the_gateway_lets_in_members_of_any_mesh_only() -> None:
    found = config(world(), "edge-1", "default")
    (chain,) = found[LISTENER]["edge:HTTP:8080"]["filterChains"]
    ca, sans = names(chain["transportSocket"])
    assert ca == "mesh_ca:secret:all"
    assert sans == [{"prefix": "spiffe://default/"}, {"prefix": "spiffe://other/"}]
    assert chain["transportSocket"]["typedConfig"]["requireClientCertificate"]
    roots = base64.b64decode(found[SECRET][ca]["validationContext"]["trustedCa"]["inlineBytes"])
    assert roots == b"-----default-----\n-----other-----\n"


def test_a_door_without_certificates_stays_shut() -> None:
    found = world()
    del found[0]["mtls"]
    assert "edge:HTTP:8080" not in config(found, "edge-1", "default").get(LISTENER, {})


def test_host_names_of_a_door_over_https_share_a_chain() -> None:
    listeners = [{**CROSSING, "protocol": "HTTPS", "hostname": name} for name in ("a.mesh", "b.mesh")]
    found = config(world(*listeners), "edge-1", "default")
    assert len(found[LISTENER]["edge:HTTPS:8080"]["filterChains"]) == 1
    (routes,) = found[ROUTE].values()
    assert [host["domains"] for host in routes["virtualHosts"]] == [["a.mesh"], ["b.mesh"]]


def test_a_provided_authority_is_known_too() -> None:
    found = world()
    conf = {"cert": {"inlineString": "-----given-----"}, "key": {"inlineString": "-"}}
    backend = {"name": "ca-1", "type": "provided", "conf": conf}
    found[0]["mtls"] = {"enabledBackend": "ca-1", "backends": [backend]}
    secret = client(found)[SECRET]["mesh_ca:secret:default"]
    assert base64.b64decode(secret["validationContext"]["trustedCa"]["inlineBytes"]) == b"-----given-----\n"


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    for name, of_mesh in (("client", "other"), ("edge-1", "default")):
        (tmp_path / name).mkdir()
        validate(config(world(), name, of_mesh), tmp_path / name)
