"""The bootstrap that an Envoy starts with: a pure function from parameters to its YAML.

Byte for byte what Kuma 2.14 answers, since proxies, scripts and people read it. The only part of
our own: when the data-plane runner lists several control planes, all of them become endpoints of
the ADS cluster, so that Envoy itself fails over, and HTTP/2 keep-alives find a dead one.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

TYPE = "type.googleapis.com/envoy."
DELTA_FEATURE = "feature-delta-grpc"
NAMING_FEATURE = "feature-unified-resource-naming"
ADMIN_SOCKET = "kuma-envoy-admin.sock"

# A Unix socket's path has at most 107 bytes; Kuma cuts the part before ".sock" at 98.
SOCKET_STEM_MAX = 98
SOCKET_PATH_MAX = 107

_KEEPALIVE = {"keepaliveInterval": 10, "keepaliveProbes": 3, "keepaliveTime": 10}
_STATS_TAGS = (
    ("name", r"^grpc\.((.+)\.)"),
    ("status", r"^grpc.*streams_closed(_([0-9]+))"),
    ("kafka_name", r"^kafka(\.(\S*[0-9]))\."),
    ("kafka_type", r"^kafka\..*\.(.*?(?=_duration|$))"),
    ("worker", r"(worker_([0-9]+)\.)"),
    ("listener", r"((.+?)\.)rbac\."),
)
_GRPC_ARGUMENTS = {
    "grpc.http2.max_pings_without_data": "0",
    "grpc.keepalive_time_ms": "10000",
    "grpc.keepalive_timeout_ms": "30000",
    "grpc.max_receive_message_length": "4194304",
}


@dataclass(frozen=True, slots=True)
class Admin:
    """Envoy's admin interface: an address and port, or a Unix socket's path. With a path, `port` is
    where the proxy's own admin listener leads control planes to the socket; 0: nowhere."""

    address: str = ""
    port: int = 0
    path: str = ""
    access_log: str = "/dev/null"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the bootstrap depends on. `addresses`: (host, port) of the control planes, first is ours.

    metadata: entries of node.metadata besides those that follow from the other fields.
    token_path: the proxy reads its token from this file (reloadable); otherwise `token` is sent.
    """

    mesh: str
    name: str
    service: str
    addresses: Sequence[tuple[str, int]]
    ca_pem: bytes
    proxy_type: str = "dataplane"
    workdir: str = ""
    features: Sequence[str] = ()
    token: str = ""
    token_path: str = ""
    admin: Admin | None = None
    hds: bool = True
    connect_timeout: str = "1s"
    builtin_gateway: bool = False
    gateway_connections_max: int = 50_000
    heap_bytes_max: int = 0
    fail_over: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ads_cluster(self) -> str:
        return "system_ads" if NAMING_FEATURE in self.features else "ads_cluster"

    @property
    def access_log_cluster(self) -> str:
        return "system_access_log_sink" if NAMING_FEATURE in self.features else "access_log_sink"


def to_yaml(config: Mapping[str, Any]) -> str:
    """The text that Envoy and the user see."""
    return yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=True, width=1 << 30)


def build(p: Parameters) -> dict[str, Any]:
    """The bootstrap as JSON values (envoy.config.bootstrap.v3.Bootstrap, camelCase)."""
    config: dict[str, Any] = {
        "defaultRegexEngine": {
            "name": "envoy.regex_engines.google_re2",
            "typedConfig": {"@type": TYPE + "extensions.regex_engines.v3.GoogleRE2"},
        },
        "dynamicResources": {
            "adsConfig": _api_config(p, "DELTA_GRPC" if DELTA_FEATURE in p.features else "GRPC"),
            "cdsConfig": _from_ads(),
            "ldsConfig": _from_ads(),
        },
        "layeredRuntime": {"layers": _runtime(p)},
        "node": _node(p),
        "staticResources": {"clusters": _clusters(p), "secrets": [_validation(p)]},
        "statsConfig": {"statsTags": [{"tagName": name, "regex": regex} for name, regex in _STATS_TAGS]},
    }
    if p.hds:
        config["hdsConfig"] = _api_config(p, "GRPC")
    if p.admin is not None:
        config["admin"] = _admin(p.admin)
    overload = _overload(p)
    if overload["resourceMonitors"]:
        config["overloadManager"] = overload
    return config


def socket_path(workdir: str, kind: str, name: str, mesh: str) -> str:
    """The Unix socket of a proxy, e.g. kind "kuma-al" for access logs."""
    return f"{workdir}/{kind}-{name}-{mesh}"[:SOCKET_STEM_MAX] + ".sock"


def _from_ads() -> dict[str, Any]:
    return {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"}


def _api_config(p: Parameters, api_type: str) -> dict[str, Any]:
    return {
        "apiType": api_type,
        "grpcServices": [_google_grpc(p) if p.token_path else _envoy_grpc(p)],
        "setNodeOnFirstMessageOnly": True,
        "transportApiVersion": "V3",
    }


def _envoy_grpc(p: Parameters) -> dict[str, Any]:
    service: dict[str, Any] = {"envoyGrpc": {"clusterName": p.ads_cluster}}
    if p.token:
        service["initialMetadata"] = [{"key": "authorization", "value": p.token}]
    return service


def _google_grpc(p: Parameters) -> dict[str, Any]:
    """Google's client, because it alone re-reads a token from its file."""
    credentials = "envoy.grpc_credentials.file_based_metadata"
    host, port = p.addresses[0]
    file_based = {
        "@type": TYPE + "config.grpc_credential.v3.FileBasedMetadataConfig",
        "secretData": {"filename": p.token_path},
    }
    return {
        "googleGrpc": {
            "callCredentials": [{"fromPlugin": {"name": credentials, "typedConfig": file_based}}],
            "channelArgs": {"args": {name: {"intValue": value} for name, value in _GRPC_ARGUMENTS.items()}},
            "channelCredentials": {"sslCredentials": {"rootCerts": {"inlineBytes": _base64(p.ca_pem)}}},
            "credentialsFactoryName": credentials,
            "statPrefix": "ads",
            "targetUri": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        }
    }


def _runtime(p: Parameters) -> list[dict[str, Any]]:
    limits = {"re2.max_program_size.error_level": 4294967295, "re2.max_program_size.warn_level": 1000}
    layers: list[dict[str, Any]] = [{"name": "kuma", "staticLayer": limits}]
    if p.builtin_gateway:
        name = "gateway.listeners"
        rtds = {"ads": {}, "resourceApiVersion": "V3"}
        layers.append({"name": name, "rtdsLayer": {"name": name, "rtdsConfig": rtds}})
    return layers


def _node(p: Parameters) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dataplane.proxyType": p.proxy_type,
        "features": list(p.features),
        "workdir": p.workdir,
        **p.metadata,
    }
    if p.admin is not None and p.admin.path:
        metadata["dataplane.admin.socket"] = p.admin.path
        if p.admin.port:
            metadata["dataplane.admin.port"] = str(p.admin.port)
    elif p.admin is not None:
        metadata["dataplane.admin.address"] = p.admin.address
        metadata["dataplane.admin.port"] = str(p.admin.port)
    return {"cluster": p.service, "id": f"{p.mesh}.{p.name}", "metadata": metadata}


def _admin(admin: Admin) -> dict[str, Any]:
    address: dict[str, Any]
    if admin.path:
        address = {"pipe": {"path": admin.path, "mode": 0o600}}
    else:
        address = {"socketAddress": {"address": admin.address, "portValue": admin.port}}
    file_log = {"@type": TYPE + "extensions.access_loggers.file.v3.FileAccessLog", "path": admin.access_log}
    return {
        "accessLog": [{"name": "envoy.access_loggers.file", "typedConfig": file_log}],
        "address": address,
    }


def _overload(p: Parameters) -> dict[str, Any]:
    monitors: list[dict[str, Any]] = []
    result: dict[str, Any] = {"refreshInterval": "0.250s", "resourceMonitors": monitors}
    if p.builtin_gateway:
        connections = {
            "@type": TYPE
            + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "maxActiveDownstreamConnections": str(p.gateway_connections_max),
        }
        monitors.append(
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typedConfig": connections}
        )
    if p.heap_bytes_max:
        name = "envoy.resource_monitors.fixed_heap"
        heap = {
            "@type": TYPE + "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            "maxHeapSizeBytes": str(p.heap_bytes_max),
        }
        monitors.append({"name": name, "typedConfig": heap})
        result["actions"] = [
            {
                "name": f"envoy.overload_actions.{action}",
                "triggers": [{"name": name, "threshold": {"value": at}}],
            }
            for action, at in (("shrink_heap", 0.95), ("stop_accepting_requests", 0.98))
        ]
    return result


def _clusters(p: Parameters) -> list[dict[str, Any]]:
    pipe = {"pipe": {"path": socket_path(p.workdir, "kuma-al", p.name, p.mesh)}}
    clusters = [_cluster(p, p.access_log_cluster, "STATIC", [pipe])]
    if not p.token_path:
        clusters.append(_ads_cluster(p))
    return clusters


def _cluster(
    p: Parameters,
    name: str,
    kind: str,
    addresses: Sequence[Mapping[str, Any]],
    http2: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "connectTimeout": p.connect_timeout,
        "loadAssignment": {
            "clusterName": name,
            "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}} for address in addresses]}],
        },
        "name": name,
        "type": kind,
        "typedExtensionProtocolOptions": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicitHttpConfig": {"http2ProtocolOptions": dict(http2 or {})},
            }
        },
        "upstreamConnectionOptions": {"tcpKeepalive": dict(_KEEPALIVE)},
    }


def _ads_cluster(p: Parameters) -> dict[str, Any]:
    addresses = [{"socketAddress": {"address": host, "portValue": port}} for host, port in p.addresses]
    numeric = all(_is_ip(host) for host, _ in p.addresses)
    # A control plane that lost power closes nothing: the ping finds out.
    http2 = {"connectionKeepalive": {"interval": "5s", "timeout": "3s"}} if p.fail_over else {}
    cluster = _cluster(p, p.ads_cluster, "STATIC" if numeric else "STRICT_DNS", addresses, http2)
    if p.fail_over and not numeric:
        # Envoy prefers IPv6, and takes "localhost" for ::1 whoever listens there.
        cluster["dnsLookupFamily"] = "V4_PREFERRED"
    cluster["transportSocket"] = {
        "name": "envoy.transport_sockets.tls",
        "typedConfig": {
            "@type": TYPE + "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "commonTlsContext": {
                "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_2"},
                "validationContextSdsSecretConfig": {"name": "cp_validation_ctx"},
            },
            "sni": p.addresses[0][0],
        },
    }
    return cluster


def _validation(p: Parameters) -> dict[str, Any]:
    """Whom to believe to be a control plane: the CA, and the names under which we are known."""
    hosts = list(dict.fromkeys(host for host, _ in p.addresses))
    names = [
        {"matcher": {"exact": host}, "sanType": kind} for host in hosts for kind in ("DNS", "IP_ADDRESS")
    ]
    return {
        "name": "cp_validation_ctx",
        "validationContext": {
            "matchTypedSubjectAltNames": names,
            "trustedCa": {"inlineBytes": _base64(p.ca_pem)},
        },
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
