"""Spliced bytes equal the object encoding, and a second decoder reads the same content."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xds.second_opinion import decode
from xds import encode as e
from xds.proto import msg, pack_any, serialize, struct
from xds.types import CLUSTER, ENDPOINT

ADDRESS_MAX = 200
DELTA_RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


def cluster(name: str, seconds: int = 5) -> Any:
    return msg("envoy.config.cluster.v3.Cluster")(
        name=name,
        type="EDS",
        connect_timeout={"seconds": seconds},
        metadata={"filter_metadata": {"io.kuma.tags": struct({"b": "2", "a": "1", "c": [1, 2]})}},
    )


def lb_endpoint(address: str, port: int, weight: int) -> Any:
    return msg("envoy.config.endpoint.v3.LbEndpoint")(
        endpoint={"address": {"socket_address": {"address": address, "port_value": port}}},
        metadata={"filter_metadata": {"envoy.lb": struct({"version": "v1", "env": "prod"})}},
        load_balancing_weight={"value": weight},
    )


def assignment(name: str, localities: list[tuple[str, int, int | None, list[Any]]]) -> Any:
    parts = []
    for zone, priority, weight, endpoints in localities:
        part: dict[str, Any] = {"lb_endpoints": endpoints, "priority": priority}
        if zone:
            part["locality"] = {"zone": zone}
        if weight is not None:
            part["load_balancing_weight"] = {"value": weight}
        parts.append(part)
    return msg("envoy.config.endpoint.v3.ClusterLoadAssignment")(cluster_name=name, endpoints=parts)


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_varint_is_what_protobuf_writes(number: int) -> None:
    written = serialize(msg("google.protobuf.UInt64Value")(value=number))
    assert written == (b"\x08" + e.varint(number) if number else b"")


def test_encoded_resource_frames_the_object_encoding() -> None:
    message = cluster("backend")
    encoded = e.encode(CLUSTER, "backend", message)
    response = msg(DELTA_RESPONSE)(
        resources=[{"name": "backend", "version": encoded.version, "resource": pack_any(message)}]
    )
    assert encoded.body == serialize(message)
    assert encoded.frame == serialize(response)


def test_a_message_and_its_bytes_encode_alike() -> None:
    message = cluster("backend")
    assert e.encode(CLUSTER, "backend", message) == e.encode(CLUSTER, "backend", serialize(message))


def test_equal_content_has_equal_version_and_changed_content_another() -> None:
    assert e.encode(CLUSTER, "a", cluster("a")).version == e.encode(CLUSTER, "a", cluster("a")).version
    assert e.encode(CLUSTER, "a", cluster("a", 5)).version != e.encode(CLUSTER, "a", cluster("a", 6)).version


@pytest.mark.parametrize("control_plane", ["", "replica-1"])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_delta_response_equals_the_object_encoding(count: int, control_plane: str) -> None:
    messages = {f"c{i}": cluster(f"c{i}") for i in range(count)}
    resources = [e.encode(CLUSTER, name, message) for name, message in messages.items()]
    spliced = e.delta_response(CLUSTER, "n-7", resources, ["gone", "also-gone"], control_plane)
    objects = msg(DELTA_RESPONSE)(
        resources=[
            {"name": r.name, "version": r.version, "resource": pack_any(messages[r.name])} for r in resources
        ],
        type_url=CLUSTER,
        nonce="n-7",
        removed_resources=["gone", "also-gone"],
    )
    if control_plane:
        objects.control_plane.identifier = control_plane
    assert spliced == serialize(objects)


def test_delta_response_is_read_alike_by_an_independent_decoder() -> None:
    resources = [e.encode(CLUSTER, name, cluster(name, seconds=3)) for name in ("a", "b")]
    decoded = decode(DELTA_RESPONSE, e.delta_response(CLUSTER, "n1", resources, ["gone"]))
    assert decoded.nonce == "n1"
    assert decoded.removed_resources == ["gone"]
    assert [(r.name, r.version) for r in decoded.resources] == [(r.name, r.version) for r in resources]
    inside = decode("envoy.config.cluster.v3.Cluster", decoded.resources[0].resource.value)
    assert (inside.name, inside.connect_timeout.total_seconds()) == ("a", 3)


def test_sotw_response_equals_the_object_encoding_and_is_read_alike() -> None:
    message = cluster("a")
    spliced = e.sotw_response(CLUSTER, "v9", "n2", [e.encode(CLUSTER, "a", message)], "replica-1")
    objects = msg("envoy.service.discovery.v3.DiscoveryResponse")(
        version_info="v9",
        resources=[pack_any(message)],
        type_url=CLUSTER,
        nonce="n2",
        control_plane={"identifier": "replica-1"},
    )
    assert spliced == serialize(objects)
    assert decode("envoy.service.discovery.v3.DiscoveryResponse", spliced).version_info == "v9"


REST = {"metadata": lb_endpoint("", 0, 1).metadata, "load_balancing_weight": {"value": 3}}


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=ADDRESS_MAX),
    st.integers(min_value=0, max_value=65535),
)
def test_hand_encoded_endpoint_equals_the_object_encoding(address: str, port: int) -> None:
    rest = serialize(msg("envoy.config.endpoint.v3.LbEndpoint")(**REST))
    assert e.socket_endpoint_frame(address, port, rest) == e.endpoint_frame(lb_endpoint(address, port, 3))


LOCALITIES = st.lists(
    st.tuples(
        st.sampled_from(["", "zone-1", "zone-2"]),
        st.integers(min_value=0, max_value=3),
        st.none() | st.integers(min_value=1, max_value=1000),
        st.lists(st.integers(min_value=1, max_value=250), max_size=20),
    ),
    max_size=4,
)


@given(LOCALITIES)
def test_spliced_assignment_equals_the_object_encoding(
    localities: list[tuple[str, int, int | None, list[int]]],
) -> None:
    built = [
        (zone, priority, weight, [lb_endpoint(f"10.0.0.{host}", 8080, host) for host in hosts])
        for zone, priority, weight, hosts in localities
    ]
    spliced = e.encode_assignment(
        "backend",
        [
            e.LocalityEndpoints(tuple(map(e.endpoint_frame, endpoints)), zone, priority, weight)
            for zone, priority, weight, endpoints in built
        ],
    )
    assert spliced.body == serialize(assignment("backend", built))
    assert spliced == e.encode(ENDPOINT, "backend", assignment("backend", built))


def test_a_large_assignment_is_read_alike_by_an_independent_decoder() -> None:
    frames = tuple(e.socket_endpoint_frame(f"10.0.{i // 250}.{i % 250}", 8080) for i in range(1000))
    encoded = e.encode_assignment("backend", [e.LocalityEndpoints(frames, "zone-1", 1)])
    decoded = decode("envoy.config.endpoint.v3.ClusterLoadAssignment", encoded.body)
    (locality,) = decoded.endpoints
    assert (decoded.cluster_name, locality.priority, locality.locality.zone) == ("backend", 1, "zone-1")
    assert [x.endpoint.address.socket_address.address for x in locality.lb_endpoints][999] == "10.0.3.249"


def test_an_emptied_service_is_an_assignment_without_endpoints() -> None:
    assert e.empty_assignment("backend").body == serialize(assignment("backend", []))
