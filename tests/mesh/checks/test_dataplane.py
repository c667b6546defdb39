"""Every message about a Dataplane."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import GONE, Edit, edited, faults, only

GOOD: dict[str, Any] = {
    "type": "Dataplane",
    "mesh": "default",
    "name": "dp-1",
    "networking": {
        "address": "192.168.0.1",
        "inbound": [{"port": 8080, "tags": {"kuma.io/service": "backend", "version": "1"}}],
        "outbound": [{"port": 3333, "tags": {"kuma.io/service": "redis"}}],
    },
}
DELEGATED = edited(
    GOOD,
    ("networking.inbound", GONE),
    ("networking.gateway", {"tags": {"kuma.io/service": "gateway"}}),
)
BUILTIN = edited(DELEGATED, ("networking.gateway.type", "BUILTIN"), ("networking.outbound", GONE))
PORT = "port must be in the range [1, 65535]"
IN, OUT = "networking.inbound[0]", "networking.outbound[0]"
BAD_KIND = "invalid value. Available values are: MeshExternalService,MeshMultiZoneService,MeshService"
PROTOCOLS = "Allowed values: grpc, http, http2, kafka, tcp"
REFS = "networking.transparentProxing.reachableBackends.refs[0]"


@pytest.mark.parametrize("document", [GOOD, DELEGATED, BUILTIN])
def test_good_ones(document: dict[str, Any]) -> None:
    assert faults(document) == []


@pytest.mark.parametrize(
    "edit",
    [
        ("networking.address", "my.host-1.example.com"),
        ("networking.address", "::1"),
        ("networking.inbound.0.servicePort", 80),
        ("networking.inbound.0.serviceAddress", "127.0.0.1"),
        ("networking.inbound.0.tags", {"kuma.io/service": "backend", "kuma.io/protocol": "http2"}),
        ("networking.inbound", []),
        ("networking.admin", {"port": 9901}),
        (
            "networking.outbound.0",
            {"port": 1, "backendRef": {"kind": "MeshService", "name": "a", "port": 80}},
        ),
        ("networking.inbound.0.serviceProbe", {"interval": "10s", "unhealthyThreshold": 3, "tcp": {}}),
        ("probes", {"port": 9000, "endpoints": [{"inboundPort": 80, "inboundPath": "/a", "path": "/80/a"}]}),
        ("metrics", {"type": "prometheus", "conf": {"port": 1234}}),
        (
            "networking.listeners",
            [{"type": "ZoneEgress", "address": "192.168.0.1", "port": 10002, "name": "ze"}],
        ),
    ],
)
def test_other_good_ones(edit: Edit) -> None:
    assert faults(edited(GOOD, edit)) == []


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("networking", GONE), "networking", "must be defined"),
        (("networking.address", GONE), "networking.address", "address can't be empty"),
        (("networking.address", "0.0.0.0"), "networking.address", "must not be 0.0.0.0 or ::"),
        (("networking.address", "::"), "networking.address", "must not be 0.0.0.0 or ::"),
        (
            ("networking.address", "..>_<.."),
            "networking.address",
            "address has to be valid IP address or domain name",
        ),
        (("networking.inbound.0.port", 0), f"{IN}.port", PORT),
        (("networking.inbound.0.port", 65536), f"{IN}.port", PORT),
        (("networking.inbound.0.servicePort", 65536), f"{IN}.servicePort", PORT),
        (("networking.inbound.0.address", "..>_<.."), f"{IN}.address", "address has to be valid IP address"),
        (
            ("networking.inbound.0.serviceAddress", "host"),
            f"{IN}.serviceAddress",
            "serviceAddress has to be valid IP address",
        ),
        (
            ("networking.inbound.0.serviceAddress", "192.168.0.1"),
            f"{IN}.serviceAddress",
            "serviceAddress and servicePort has to differ from address and port",
        ),
        (("networking.inbound.0.tags", {"v": "1"}), f'{IN}.tags["kuma.io/service"]', "tag has to exist"),
        (("networking.inbound.0.tags.version", ""), f'{IN}.tags["version"]', "tag value must be non-empty"),
        (
            ("networking.inbound.0.tags.inv@lidT/gN%me", "a"),
            f'{IN}.tags["inv@lidT/gN%me"]',
            "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores",
        ),
        (
            ("networking.inbound.0.tags.invalidTagValue", "a?b"),
            f'{IN}.tags["invalidTagValue"]',
            "tag value must consist of alphanumeric characters, dots, dashes and underscores",
        ),
        (
            ("networking.outbound.0.tags", {"v": "1"}),
            f"{OUT}.tags",
            'mandatory tag "kuma.io/service" is missing',
        ),
        (("networking.outbound.0.port", 0), f"{OUT}.port", PORT),
        (("networking.outbound.0.address", "host.."), f"{OUT}.address", "address has to be valid IP address"),
        (
            ("networking.inbound.0.serviceProbe", {"interval": "0s"}),
            f"{IN}.serviceProbe.interval",
            "must have a positive value",
        ),
        (
            ("networking.inbound.0.serviceProbe", {"unhealthyThreshold": 0}),
            f"{IN}.serviceProbe.unhealthyThreshold",
            "must have a positive value",
        ),
        (("networking.admin", {"port": 8080}), "networking.admin.port", "must differ from inbound"),
        (("networking.admin", {"port": 3333}), "networking.admin.port", "must differ from outbound"),
        (
            ("metrics", {"type": "statsd"}),
            "metrics.type",
            'unknown backend type. Available backends: "prometheus"',
        ),
        (("probes", {"port": 0}), "probes.port", PORT),
    ],
)
def test_one_fault(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(GOOD, edit)) == only(field, reason)


@pytest.mark.parametrize("protocol", ["", "not-yet-supported-protocol"])
def test_unknown_protocols(protocol: str) -> None:
    document = edited(GOOD)
    document["networking"]["inbound"][0]["tags"]["kuma.io/protocol"] = protocol
    found = faults(document)
    field = f'{IN}.tags["kuma.io/protocol"]'
    expected = only(field, f'tag "kuma.io/protocol" has an invalid value "{protocol}". {PROTOCOLS}')
    assert found == (expected if protocol else expected + only(field, "tag value must be non-empty"))


@pytest.mark.parametrize(
    ("document", "edit", "field", "reason"),
    [
        (DELEGATED, ("networking.inbound", GOOD["networking"]["inbound"]), "networking.inbound",
         "inbound cannot be defined for delegated gateways"),
        (DELEGATED, ("networking.listeners", [{}]), "networking.listeners",
         "listeners cannot be defined for delegated gateways"),
        (BUILTIN, ("networking.inbound", GOOD["networking"]["inbound"]), "networking.inbound",
         "inbound cannot be defined for builtin gateways"),
        (BUILTIN, ("networking.outbound", GOOD["networking"]["outbound"]), "networking.outbound",
         "outbound cannot be defined for builtin gateways"),
        (BUILTIN, ("probes", {"port": 1}), "networking.probes", "probes cannot be defined for builtin gateways"),
        (BUILTIN, ("networking.listeners", [{}]), "networking.listeners",
         "listeners cannot be defined for builtin gateways"),
        (DELEGATED, ("networking.gateway.tags", {}), "networking.gateway.tags",
         'mandatory tag "kuma.io/service" is missing'),
        (DELEGATED, ("networking.gateway.tags.version", ""), 'networking.gateway.tags["version"]',
         "tag value must be non-empty"),
        (DELEGATED, ("networking.gateway.tags", {"kuma.io/service": "a", "kuma.io/protocol": "http"}),
         'networking.gateway.tags["kuma.io/protocol"]', 'other values than tcp are not allowed, provided value "http"'),
    ],
)  # fmt: skip
def test_faults_of_gateways(document: dict[str, Any], edit: Edit, field: str, reason: str) -> None:
    assert (field, reason) in faults(edited(document, edit))


@pytest.mark.parametrize(
    ("ref", "field", "reason"),
    [
        ({"kind": "Mesh", "name": "a", "port": 1}, f"{OUT}.backendRef.kind", BAD_KIND),
        (
            {"kind": "MeshService", "port": 1},
            f"{OUT}.backendRef",
            "either 'name' or 'labels' should be specified",
        ),
        ({"kind": "MeshService", "name": "a"}, f"{OUT}.backendRef.port", PORT),
    ],
)
def test_backend_refs(ref: dict[str, Any], field: str, reason: str) -> None:
    document = edited(GOOD, ("networking.outbound.0", {"port": 1, "backendRef": ref}))
    assert faults(document) == only(field, reason)


def test_a_backend_ref_excludes_tags() -> None:
    ref = {"kind": "MeshService", "name": "a", "port": 1}
    found = faults(edited(GOOD, ("networking.outbound.0.backendRef", ref)))
    assert found == only(f"{OUT}.backendRef", "both backendRef and tags/service cannot be defined")


@pytest.mark.parametrize(
    ("ref", "field", "reason"),
    [
        ({"kind": "Mesh", "name": "a"}, f"{REFS}.kind", BAD_KIND),
        (
            {"kind": "MeshService", "name": "a", "labels": {"a": "b"}},
            f"{REFS}.labels",
            "labels cannot be defined when name is specified",
        ),
        (
            {"kind": "MeshService", "name": "A"},
            f"{REFS}.name",
            "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
            "characters, '-' or '.', and must start and end with an alphanumeric character",
        ),
        ({"kind": "MeshService"}, f"{REFS}.name", "name or labels are required"),
        (
            {"kind": "MeshService", "namespace": "n"},
            f"{REFS}.name",
            "name is required, when namespace is defined",
        ),
    ],
)
def test_reachable_backends(ref: dict[str, Any], field: str, reason: str) -> None:
    proxying = {"redirectPortInbound": 15006, "reachableBackends": {"refs": [ref]}}
    assert faults(edited(GOOD, ("networking.transparentProxying", proxying))) == only(field, reason)


def listener(**changes: Any) -> dict[str, Any]:
    return {"type": "ZoneIngress", "address": "192.168.0.1", "port": 10001, "name": "zi-main", **changes}


L0, L1 = "networking.listeners[0]", "networking.listeners[1]"


@pytest.mark.parametrize(
    ("listeners", "field", "reason"),
    [
        ([listener(address="")], f"{L0}.address", "address can't be empty"),
        ([listener(port=0)], f"{L0}.port", PORT),
        ([listener(address="..>_<..")], f"{L0}.address", "address has to be valid IP address or domain name"),
        ([listener(name="http")], f"{L0}.name", 'name "http" must be unique across inbounds and listeners'),
        (
            [listener(), listener(port=10002)],
            f"{L1}.name",
            'name "zi-main" must be unique across inbounds and listeners',
        ),
        (
            [listener(), listener(type="ZoneEgress", name="ze")],
            L1,
            "address:port 192.168.0.1:10001 is used by listeners of different types",
        ),
        (
            [listener(), listener(name="zi-2")],
            L1,
            "address:port 192.168.0.1:10001 is already used by another listener",
        ),
        ([listener(port=8080)], L0, "address:port 192.168.0.1:8080 collides with an inbound listener"),
    ],
)
def test_listeners(listeners: list[dict[str, Any]], field: str, reason: str) -> None:
    document = edited(GOOD, ("networking.inbound.0.name", "http"), ("networking.listeners", listeners))
    assert faults(document) == only(field, reason)


def test_aggregated_applications_have_names_of_their_own() -> None:
    conf = {"aggregate": [{"name": "app", "port": 1}, {"name": "app", "port": 2}]}
    found = faults(edited(GOOD, ("metrics", {"type": "prometheus", "conf": conf})))
    assert found == only("metrics.conf.aggregate[1].name", "duplicate entry: app, values have to be unique")


def test_probe_endpoints() -> None:
    endpoint = {"inboundPort": 0, "inboundPath": "not a path", "path": ""}
    found = faults(edited(GOOD, ("probes", {"port": 1, "endpoints": [endpoint]})))
    at = "probes.endpoints[0]"
    path = "should be a valid URL Path"
    assert found == [(f"{at}.inboundPort", PORT), (f"{at}.inboundPath", path), (f"{at}.path", path)]


def test_services_may_select_by_labels_instead_of_tags() -> None:
    document = edited(GOOD, ("networking.inbound.0.tags", GONE))
    assert faults(document) == only(f'{IN}.tags["kuma.io/service"]', "tag has to exist")
    assert faults({**document, "labels": {"kuma.io/workload": "backend"}}) == []


def test_the_mesh_has_to_exist() -> None:
    other = {"type": "Mesh", "name": "other"}
    assert faults(GOOD, other) == only("mesh", "mesh of name default is not found")
    assert faults(edited(GOOD, ("mesh", "other")), other) == []
