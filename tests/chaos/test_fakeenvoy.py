"""The fake Envoy asks, answers and forgets as the real one was seen to do."""

from __future__ import annotations

from typing import Any

from chaos.fakeenvoy import FakeEnvoy, references
from tests.xds.fixtures import cluster, endpoints, listener, route
from xds.encode import delta_response
from xds.proto import msg, pack_any
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Encoded

REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"


def decoded(requests: list[bytes]) -> list[Any]:
    return [msg(REQUEST).FromString(data) for data in requests]


def give(envoy: FakeEnvoy, *resources: tuple[str, Encoded], removed: tuple[str, ...] = ()) -> list[Any]:
    """Send resources of one type; the client's requests."""
    type_url = resources[0][0] if resources else CLUSTER
    return decoded(envoy.receive(delta_response(type_url, "n", [r for _, r in resources], removed)))


def test_it_says_who_it_is_once_and_asks_for_everything() -> None:
    first, second = decoded(FakeEnvoy("default.dp-1", {"a": "b"}, "web").hello())
    assert (first.type_url, first.node.id, first.node.cluster) == (CLUSTER, "default.dp-1", "web")
    assert (second.type_url, second.HasField("node")) == (LISTENER, False)


def test_it_asks_for_endpoints_before_it_acknowledges_clusters() -> None:
    subscription, ack = give(FakeEnvoy("n"), cluster("a"))
    assert (subscription.type_url, list(subscription.resource_names_subscribe)) == (ENDPOINT, ["a"])
    assert (ack.type_url, ack.response_nonce, ack.HasField("error_detail")) == (CLUSTER, "n", False)


def test_it_leaves_the_endpoints_of_a_removed_cluster() -> None:
    envoy = FakeEnvoy("n")
    give(envoy, cluster("a"))
    give(envoy, endpoints("a", 80))
    subscription, _ = give(envoy, removed=("a",))
    assert list(subscription.resource_names_unsubscribe) == ["a"]
    assert envoy.resources[ENDPOINT] == {}


def test_it_ignores_what_it_no_longer_asks_for() -> None:
    envoy = FakeEnvoy("n")
    give(envoy, endpoints("stranger", 80))
    assert envoy.resources[ENDPOINT] == {}


def test_it_rejects_what_its_judge_rejects_and_applies_the_rest_without_versions() -> None:
    envoy = FakeEnvoy("n", judge=lambda type_url, name, body: "ugly" if name == "bad" else None)
    (*_, nack) = give(envoy, cluster("bad"), cluster("good"))
    assert nack.error_detail.message == "Error adding/updating bad: ugly"
    assert set(envoy.resources[CLUSTER]) == {"good"}
    assert envoy.versions[CLUSTER] == {}


def test_it_comes_back_with_what_it_has() -> None:
    envoy = FakeEnvoy("n")
    envoy.hello()
    resource = cluster("a")
    give(envoy, resource)
    again = {request.type_url: request for request in decoded(envoy.hello())}
    assert dict(again[CLUSTER].initial_resource_versions) == {"a": resource[1].version}
    assert list(again[ENDPOINT].resource_names_subscribe) == ["a"]


def test_it_finds_what_resources_refer_to_at_any_depth() -> None:
    assert references(CLUSTER, cluster("a")[1].body) == ((ENDPOINT, "a"),)
    assert references(LISTENER, listener("in", 80, "r")[1].body) == ((ROUTE, "r"),)
    assert route("r", "a")[0] == ROUTE
    context = msg("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")(
        common_tls_context={
            "tls_certificate_sds_secret_configs": [{"name": "cert", "sds_config": {"ads": {}}}]
        }
    )
    tls = {"name": "tls", "typed_config": pack_any(context)}
    body = msg("envoy.config.cluster.v3.Cluster")(name="a", transport_socket=tls).SerializeToString()
    assert references(CLUSTER, body) == ((SECRET, "cert"),)
