"""Envoy's own interfaces: readiness for everybody, the admin API for the control plane only."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import naming
from xds.config import cluster, hcm
from xds.config.admintls import CONTROL_PLANE_NAME, AdminTls
from xds.config.draft import Draft, named, serialized, wrapped
from xds.config.tls import SOCKET, TLS
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded


@dataclass(frozen=True, slots=True)
class Admin:
    """Everything that the admin listener and its clusters depend on. `address`: of the proxy.

    admin_address: of Envoy's admin interface, or the path of its socket.
    """

    address: str
    admin_address: str
    admin_port: int
    readiness: bool
    unified: bool
    reuse_port: bool
    tls: AdminTls | None = None

    @property
    def listens(self) -> bool:
        """Envoy's admin listens itself where the proxy's address is the admin's."""
        return self.address != self.admin_address


@derivation
def admin_listener(ctx: Context, admin: Admin) -> Encoded:
    """Plain HTTP reaches `/ready`; mutual TLS with the control plane's certificate reaches all.

    Without certificates there is no second door, since Envoy would refuse the listener.
    """
    name = naming.admin_name(unified=admin.unified)
    readiness = naming.readiness_name(unified=admin.unified)
    draft = hcm.listener(name, admin.address, admin.admin_port, "INBOUND")
    draft["enable_reuse_port"] = wrapped(admin.reuse_port)
    ready = _route("/ready", readiness if admin.readiness else name)
    draft["filter_chains"] = [{"filters": [_manager(name, [ready])]}]
    if admin.tls is not None:
        secured = {
            "filter_chain_match": {"transport_protocol": "tls"},
            "filters": [_manager(name, [ready, _route("/", name)])],
            "transport_socket": _socket(admin.tls),
        }
        draft["filter_chains"].append(secured)
    hcm.add_tls_inspector(draft)
    return encode(LISTENER, name, serialized(hcm.LISTENER, draft))


def _route(prefix: str, target: str) -> Draft:
    return {"match": {"prefix": prefix}, "route": {"cluster": target, "prefix_rewrite": prefix}}


def _manager(name: str, routes: list[Draft]) -> Draft:
    manager = hcm.http_manager(name, hcm.route_config("", name, routes))
    manager["typed_config"]["internal_address_config"] = hcm.networks(hcm.LOOPBACK)
    return manager


def _socket(tls: AdminTls) -> Draft:
    certificate = {
        "certificate_chain": {"inline_bytes": tls.certificate},
        "private_key": {"inline_bytes": tls.key},
    }
    control_plane = {"san_type": "DNS", "matcher": {"exact": CONTROL_PLANE_NAME}}
    validation = {
        "trusted_ca": {"inline_bytes": tls.ca},
        "match_typed_subject_alt_names": [control_plane],
    }
    context = {"tls_certificates": [certificate], "validation_context": validation}
    fields = {"common_tls_context": context, "require_client_certificate": wrapped(True)}
    return named(SOCKET, TLS + "DownstreamTlsContext", fields)


@derivation
def admin_cluster(ctx: Context, address: str, port: int, unified: bool) -> Encoded:
    """Envoy's admin interface."""
    name = naming.admin_name(unified=unified)
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, cluster.static(name, address, port)))


@derivation
def readiness_cluster(ctx: Context, address: str, port: int, unified: bool) -> Encoded:
    """What tells whether the proxy is ready."""
    name = naming.readiness_name(unified=unified)
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, cluster.static(name, address, port)))
