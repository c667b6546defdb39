"""Names that other programs, and other clusters, have to arrive at too."""

from __future__ import annotations

import pytest

from mesh import naming
from mesh.codec import decode
from mesh.resource import Resource

SERVICE = decode(
    {
        "type": "MeshService",
        "mesh": "m",
        "name": "web-2v6wfvvcvbc9f55d",
        "labels": {"kuma.io/display-name": "web", "kuma.io/zone": "z"},
        "spec": {"ports": [{"port": 80}, {"port": 81, "name": "admin"}]},
    }
)


@pytest.mark.parametrize(
    ("mesh", "name", "zone", "hashed"),
    [
        ("default", "redis-zone-1", "zone-1", "redis-zone-1-2v6wfvvcvbc9f55d"),
        ("default", "redis-zone-2", "zone-2", "redis-zone-2-ff29vc4685c6f594"),
        ("mesh-1", "matched-for-rules-mt-bbbbbb", "zone-uni", "matched-for-rules-mt-bbbbbb-49cz499w5458c56v"),
    ],
)
def test_hashed_names(mesh: str, name: str, zone: str, hashed: str) -> None:
    assert naming.hashed_name(mesh, name, zone=zone) == hashed


def test_hashed_names_are_bounded_and_distinct() -> None:
    long = "a" * 300
    name = naming.hashed_name("m", long, zone="z")
    assert len(name) <= 253
    assert name != naming.hashed_name("m", long, zone="y")


def test_kri_names_the_resource_at_its_origin() -> None:
    assert naming.kri_of(SERVICE) == "kri_msvc_m_z__web_"
    assert naming.kri_of(SERVICE, "80") == "kri_msvc_m_z__web_80"
    parsed = naming.parse_kri("kri_mal_mesh-1_z_ns_web_s")
    assert parsed == ("mal", "mesh-1", "z", "ns", "web", "s")
    assert str(parsed) == "kri_mal_mesh-1_z_ns_web_s"


@pytest.mark.parametrize(
    "text", ["", "kri", "kri_m____", "kri_m_____", "kri_____a_", "abc_m____a_", "kri_m____a_b_c"]
)
def test_what_is_no_kri(text: str) -> None:
    with pytest.raises(ValueError, match=r"identifier|unknown short name"):
        naming.parse_kri(text)


def test_kinds_without_a_short_name_have_no_kri() -> None:
    with pytest.raises(KeyError):
        naming.kri_of(Resource("Secret", "m", "s"))


@pytest.mark.parametrize(
    ("mesh", "name", "port", "expected"),
    [
        ("envoyconfig", "demo-client", 3000, "a65abe81bca1750d1.demo-client.3000.envoyconfig.ms"),
        ("envoyconfig", "test-server", 80, "a029781856823048e.test-server.80.envoyconfig.ms"),
        (
            "envoyconfig-builtingateway",
            "echo-service",
            80,
            "aecb4981e52fda985.echo-service.80.envoyconfig-builtingateway.ms",
        ),
    ],
)
def test_server_names_of_resources(mesh: str, name: str, port: int, expected: str) -> None:
    assert naming.sni_of_resource("MeshService", mesh, name, port) == expected


def test_server_names_of_tags() -> None:
    assert naming.sni_of_tags({"kuma.io/service": "web"}) == "web"
    assert naming.sni_of_tags({"kuma.io/service": "web", "v": "1", "a": "b"}, "m") == "web{a=b,mesh=m,v=1}"


def test_new_server_names() -> None:
    assert naming.snis(SERVICE) == [
        {"port": 80, "sni": "sni.msvc.m.z.web.80"},
        {"port": 81, "sni": "sni.msvc.m.z.web.admin"},
    ]
    external = decode(
        {"type": "MeshExternalService", "mesh": "m", "name": "e", "spec": {"match": {"port": 9}}}
    )
    assert naming.snis(external) == [{"port": 9, "sni": "sni.extsvc.m.e.9"}]


def test_namespaces_stand_behind_the_zone() -> None:
    item = Resource("MeshService", "m", "web", {"kuma.io/zone": "z", "k8s.kuma.io/namespace": "ns"})
    assert naming.sni(item, "80") == "sni.msvc.m.z.ns.web.80"
    assert naming.kri_of(item) == "kri_msvc_m_z_ns_web_"
    assert naming.cluster_name(item, 80) == "m_web_ns_z_msvc_80"


def test_names_of_envoy_resources() -> None:
    assert naming.cluster_name(SERVICE, 80) == "m_web__z_msvc_80"
    assert naming.cluster_name(SERVICE, 80, unified=True) == "kri_msvc_m_z__web_80"
    assert naming.inbound_listener_name("1.1.1.1", 80) == "inbound:1.1.1.1:80"
    assert naming.inbound_listener_name("1.1.1.1", 80, "main", unified=True) == "self_inbound_dp_main"
    assert naming.outbound_listener_name("1.1.1.1", 80) == "outbound:1.1.1.1:80"
    assert naming.outbound_listener_name("1.1.1.1", 80, "kri_x", unified=True) == "kri_x"
    assert naming.local_cluster_name(8080) == "localhost:8080"
    assert naming.local_cluster_name(80, unified=True) == "self_inbound_dp_80"
    assert naming.inbound_route_name("web") == "inbound:web"
    assert naming.outbound_route_name("web") == "outbound:web"
    assert naming.passthrough_name("inbound", 4) == "inbound:passthrough:ipv4"
    unified = naming.passthrough_name("outbound", 6, unified=True)
    assert unified == "self_transparentproxy_passthrough_outbound_ipv6"
    assert naming.identity_secret_name("m") == "identity_cert:secret:m"
    assert naming.ca_secret_name("m", unified=True) == "system_mtls_ca_m"
    assert naming.admin_name() == "kuma:envoy:admin"
    assert naming.readiness_name(unified=True) == "system_probe_readiness"


def test_parts_of_a_service_are_named_by_their_tags() -> None:
    assert naming.split_cluster_name("web", {"kuma.io/service": "web"}) == "web"
    one, two = (naming.split_cluster_name("web", {"kuma.io/service": "web", "v": v}) for v in "12")
    assert one != two
    assert one.startswith("web-")
    assert len(one) == len("web-") + 16
