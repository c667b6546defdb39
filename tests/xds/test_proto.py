"""The private pool: complete enough for a mesh, deterministic, and alone."""

from __future__ import annotations

import datetime
import sys

import pytest

from xds import proto, types

NEEDED = [
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.overload.v3.OverloadManager",
    "envoy.config.trace.v3.ZipkinConfig",
    "envoy.config.trace.v3.DatadogConfig",
    "envoy.config.trace.v3.OpenTelemetryConfig",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
    "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
    "envoy.extensions.compression.gzip.compressor.v3.Gzip",
    "envoy.extensions.filters.http.compressor.v3.Compressor",
    "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    "envoy.extensions.filters.http.lua.v3.Lua",
    "envoy.extensions.filters.http.on_demand.v3.OnDemand",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.kafka_broker.v3.KafkaBroker",
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.network.set_filter_state.v3.Config",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
    "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput",
    "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput",
    "envoy.extensions.regex_engines.v3.GoogleRE2",
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.service.discovery.v3.DeltaDiscoveryRequest",
    "envoy.service.discovery.v3.DiscoveryRequest",
    "envoy.service.health.v3.HealthCheckRequestOrEndpointHealthResponse",
    "envoy.service.runtime.v3.Runtime",
    "envoy.service.status.v3.ClientStatusResponse",
    "xds.type.matcher.v3.Matcher",
]


@pytest.mark.parametrize("name", NEEDED)
def test_every_message_a_mesh_needs_is_there(name: str) -> None:
    assert proto.msg(name).DESCRIPTOR.full_name == name


@pytest.mark.parametrize("url", types.SEND_ORDER)
def test_the_types_we_serve_are_found_by_their_url(url: str) -> None:
    cls = proto.msg_of_url(url)
    assert proto.type_url(cls) == url


def test_an_unknown_message_is_named() -> None:
    with pytest.raises(proto.UnknownMessage, match=r"envoy\.Nothing"):
        proto.msg("envoy.Nothing")


def test_no_generated_module_is_imported() -> None:
    proto.msg("envoy.config.cluster.v3.Cluster")
    assert not [name for name in sys.modules if name.startswith("envoy.config")]


def test_maps_are_serialised_in_one_order_whatever_the_order_of_insertion() -> None:
    fields = {f"key-{i}": i for i in range(50)}
    backwards = dict(reversed(fields.items()))
    assert proto.serialize(proto.struct(fields)) == proto.serialize(proto.struct(backwards))


def test_any_round_trip() -> None:
    router = proto.msg("envoy.extensions.filters.http.router.v3.Router")(suppress_envoy_headers=True)
    packed = proto.pack_any(router)
    assert packed.type_url == "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    assert proto.unpack_any(packed) == router


def test_any_with_bytes_of_something_else_is_refused() -> None:
    packed = proto.msg("google.protobuf.Any")(type_url=types.CLUSTER, value=b"\xff\xff")
    with pytest.raises(ValueError, match="Cluster"):
        proto.unpack_any(packed)


@pytest.mark.parametrize("seconds", [0.0, 1.5, 0.000001, -1.5, 3600.0])
def test_durations_are_exact(seconds: float) -> None:
    assert proto.duration(seconds).ToTimedelta() == datetime.timedelta(seconds=seconds)


CLUSTER_JSON = {
    "name": "backend",
    "connectTimeout": "1.500s",
    "transportSocket": {
        "name": "tls",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "backend",
        },
    },
}


def test_json_round_trip_opens_any() -> None:
    cluster = proto.from_json("envoy.config.cluster.v3.Cluster", CLUSTER_JSON)
    assert proto.to_json(cluster) == CLUSTER_JSON


def test_json_accepts_field_names_of_the_proto_files() -> None:
    cluster = proto.from_json("envoy.config.cluster.v3.Cluster", '{"connect_timeout": "2s"}')
    assert cluster.connect_timeout.seconds == 2


def test_json_with_an_unknown_field_names_it() -> None:
    with pytest.raises(ValueError, match=r"Cluster.*conectTimeout"):
        proto.from_json("envoy.config.cluster.v3.Cluster", {"conectTimeout": "2s"})
