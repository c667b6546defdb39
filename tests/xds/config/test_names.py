"""Names of clusters of tags: stable, and distinct for distinct tags and clients."""

from __future__ import annotations

from xds.config.names import tagged_cluster_name

WEB = {"kuma.io/service": "web"}


def test_a_service_alone_is_its_name() -> None:
    assert tagged_cluster_name(WEB) == "web"


def test_tags_make_another_cluster() -> None:
    one, two = (tagged_cluster_name(WEB | {"version": version}) for version in ("v1", "v2"))
    assert one != two
    assert one.startswith("web-")
    assert len(one) == len("web-") + 16


def test_a_gateway_has_clusters_of_its_own_as_kuma_names_them() -> None:
    service = {"kuma.io/service": "envoyconfig-builtingateway_echo-service__kuma-3_msvc_80"}
    client = {"kuma.io/zone": "kuma-3", "kuma.io/service": "gateway-proxy"}
    assert tagged_cluster_name(service, client).endswith("-3e607e0fbdf6b9a2")
