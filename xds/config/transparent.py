"""Transparent proxying: the two listeners to which the host redirects all traffic.

They carry what no other listener claims to where it was going, and so are the way to the world
outside the mesh, and to ports of the application that are no inbounds. They exist also where nothing
may leave the mesh: all that is redirected arrives at them, on its way to listeners of services too.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh import naming
from xds.config import cluster, hcm, policies
from xds.config.confs import KindConfs
from xds.config.draft import Draft, serialized, wrapped
from xds.config.outbound import Source
from xds.config.policies.passthrough import Match
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded

ANY_ADDRESS = {4: "0.0.0.0", 6: "::"}


@dataclass(frozen=True, slots=True)
class Passthrough:
    """Everything that one passthrough listener depends on.

    ports: inbound only: the ports that unclaimed traffic may reach; None for all. matches: outbound
    only: the places outside that may be reached; with none, all or nothing may.
    """

    direction: str
    ip_version: int
    port: int
    unified: bool
    reuse_port: bool
    ports: tuple[int, ...] | None = None
    matches: tuple[Match, ...] = ()
    confs: KindConfs = ()
    source: Source | None = None

    @property
    def name(self) -> str:
        return naming.passthrough_name(self.direction, self.ip_version, unified=self.unified)


@derivation
def passthrough_listener(ctx: Context, passthrough: Passthrough) -> Encoded:
    """A listener for redirected traffic."""
    name, inbound = passthrough.name, passthrough.direction == "inbound"
    address = ANY_ADDRESS[passthrough.ip_version]
    draft = hcm.listener(name, address, passthrough.port, "INBOUND" if inbound else "OUTBOUND")
    draft["use_original_dst"] = wrapped(True)
    if inbound:
        draft["enable_reuse_port"] = wrapped(passthrough.reuse_port)
    draft["filter_chains"] = _chains(passthrough)
    policies.edit_passthrough(draft, passthrough)
    return encode(LISTENER, name, serialized(hcm.LISTENER, draft))


def _chains(passthrough: Passthrough) -> list[Draft]:
    name = passthrough.name
    if passthrough.ports is None:
        return [{"filters": [hcm.tcp_proxy(name, name)]}]
    if not passthrough.ports:
        nowhere = naming.NO_DESTINATION_INBOUND
        return [{"filters": [hcm.tcp_proxy(nowhere, nowhere)]}]
    return [
        {
            "filter_chain_match": {"destination_port": wrapped(port)},
            "filters": [hcm.tcp_proxy(name, name)],
        }
        for port in passthrough.ports
    ]


@derivation
def passthrough_cluster(ctx: Context, direction: str, ip_version: int, unified: bool) -> Encoded:
    """The cluster of what goes where it was going."""
    name = naming.passthrough_name(direction, ip_version, unified=unified)
    draft = cluster.passthrough(name, inbound_ip_version=ip_version if direction == "inbound" else 0)
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, draft))


@derivation
def matched_cluster(ctx: Context, name: str, http2: bool) -> Encoded:
    """The cluster of an allowed place outside."""
    draft = cluster.passthrough(name)
    if http2:
        cluster.set_http_version(draft, http2=True)
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, draft))


@derivation
def no_destination_cluster(ctx: Context) -> Encoded:
    """Where traffic to undeclared ports ends."""
    name = naming.NO_DESTINATION_INBOUND
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, cluster.nowhere(name)))
