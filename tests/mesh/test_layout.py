"""The layout of a proxy: names of its ways in and out."""

from __future__ import annotations

from typing import Any

from mesh.codec import decode
from mesh.layout import layout_document
from mesh.resource import Resource
from mesh.view import View


def dataplane(**networking: Any) -> Resource:
    return decode({"type": "Dataplane", "name": "dp", "networking": {"address": "10.0.0.1", **networking}})


def service(name: str, *ports: dict[str, Any], **labels: str) -> Resource:
    spec = {"selector": {"dataplaneTags": {"app": name}}, "ports": list(ports) or [{"port": 80}]}
    return decode({"type": "MeshService", "name": name, "labels": labels, "spec": spec})


EXTERNAL = decode(
    {
        "type": "MeshExternalService",
        "name": "ext",
        "spec": {"match": {"type": "HostnameGenerator", "port": 443, "protocol": "http2"}},
    }
)


def layout(proxy: Resource, *others: Resource) -> dict[str, Any]:
    return layout_document(View.of([proxy, *others]), proxy, "east")


def outbounds(proxy: Resource, *others: Resource) -> list[str]:
    return [each["kri"] for each in layout(proxy, *others)["outbounds"]]


def test_inbounds_by_name_or_port() -> None:
    inbound = [
        {"port": 80, "name": "main", "tags": {"kuma.io/protocol": "http"}},
        {"port": 81, "protocol": "grpc"},
        {"port": 82},
    ]
    assert layout(dataplane(inbound=inbound))["inbounds"] == [
        {
            "kri": f"kri_dp_default___dp_{section}",
            "port": port,
            "protocol": protocol,
            "proxyResourceName": f"self_inbound_dp_{section}",
        }
        for section, port, protocol in (("main", 80, "http"), ("81", 81, "grpc"), ("82", 82, "tcp"))
    ]


def test_listeners_of_a_zone_proxy() -> None:
    listeners = [
        {"type": "ZoneIngress", "address": "10.0.0.1", "port": 10001, "name": "in"},
        {"type": "ZoneEgress", "address": "10.0.0.1", "port": 10002},
    ]
    names = [each["proxyResourceName"] for each in layout(dataplane(listeners=listeners))["listeners"]]
    assert names == ["self_zoneingress_dp_in", "self_zoneegress_dp_10002"]


def test_an_ingress_lets_in_to_services_of_its_zone_and_an_egress_out() -> None:
    listeners = [
        {"type": kind, "address": "10.0.0.1", "port": 10001} for kind in ("ZoneIngress", "ZoneEgress")
    ]
    own, copied = service("web", **{"kuma.io/origin": "zone"}), service("db", **{"kuma.io/origin": "global"})
    selector = {"meshService": {"matchLabels": {"app": "web"}}}
    multi = {
        "type": "MeshMultiZoneService",
        "name": "all",
        "spec": {"selector": selector, "ports": [{"port": 1}]},
    }
    found = layout(dataplane(listeners=listeners), own, copied, EXTERNAL, decode(multi))["listeners"]
    assert [[each["kri"] for each in listener["clusters"]] for listener in found] == [
        ["kri_msvc_default___web_80", "kri_mzsvc_default___all_1"],
        ["kri_extsvc_default___ext_443"],
    ]


def test_without_a_choice_all_destinations_are_reachable() -> None:
    two_ports = service("web", {"port": 80, "name": "main"}, {"port": 81, "appProtocol": "http"})
    found = layout(dataplane(), two_ports, EXTERNAL)["outbounds"]
    assert [(each["kri"], each["port"], each["protocol"]) for each in found] == [
        ("kri_extsvc_default___ext_443", 443, "http2"),
        ("kri_msvc_default___web_81", 81, "http"),
        ("kri_msvc_default___web_main", 80, "tcp"),
    ]


def test_outbounds_that_name_a_destination_are_the_choice() -> None:
    ref = {"kind": "MeshService", "name": "web", "port": 81}
    proxy = dataplane(outbound=[{"port": 9000, "backendRef": ref}, {"port": 9001, "tags": {"a": "b"}}])
    web = service("web", {"port": 80}, {"port": 81})
    assert outbounds(proxy, web, service("db")) == ["kri_msvc_default___web_81"]


def test_an_outbound_may_choose_by_labels() -> None:
    ref = {"kind": "MeshService", "labels": {"team": "a"}, "port": 80}
    proxy = dataplane(outbound=[{"port": 9000, "backendRef": ref}])
    assert outbounds(proxy, service("web", team="a"), service("db", team="b")) == [
        "kri_msvc_default___web_80"
    ]


def test_reachable_backends_are_the_choice_even_when_nothing_is_there() -> None:
    def reaching(*refs: dict[str, Any]) -> Resource:
        return dataplane(transparentProxying={"reachableBackends": {"refs": list(refs)}})

    web = service("web", {"port": 80}, {"port": 81})
    whole = {"kind": "MeshService", "name": "web"}
    assert outbounds(reaching(whole), web) == ["kri_msvc_default___web_80", "kri_msvc_default___web_81"]
    assert outbounds(reaching(whole | {"port": 81}), web) == ["kri_msvc_default___web_81"]
    assert outbounds(reaching(whole | {"name": "gone"}), web) == []
    assert outbounds(reaching(), web) == []


def test_the_identity_shows_once_it_is_ready() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "r", "message": "m"}
    document = {
        "type": "MeshIdentity",
        "name": "all",
        "spec": {"selector": {"dataplane": {"matchLabels": {}}}, "spiffeID": {"path": "/{{ .Mesh }}"}},
    }
    proxy = dataplane()
    assert "spiffeId" not in layout(proxy, decode(document))
    ready = decode(document | {"status": {"conditions": [condition]}})
    assert layout(proxy, ready)["spiffeId"] == "spiffe://default.east.mesh.local/default"
