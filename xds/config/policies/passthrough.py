"""MeshPassthrough: which traffic to places outside the mesh a proxy lets through.

All of it, none, or what matches. What matches becomes filter chains of the outbound passthrough
listener: by server name for TLS, by host for HTTP, by address for the rest. Chains are ordered from
the most precise to the least, for readers; Envoy itself looks for the best match.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from xds.config import hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, named, wrapped

if TYPE_CHECKING:
    from xds.config.transparent import Passthrough

KIND = "MeshPassthrough"
HTTP_INSPECTOR = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"
HTTP_INSPECTOR_FILTER = "envoy.filters.listener.http_inspector"
HTTP_PROTOCOLS = ("http", "http2", "grpc")
_TYPES = {"Domain": 0, "IP": 1, "CIDR": 2}
_UNMATCHED_STATUS = 503


class Match(NamedTuple):
    """One place outside. port 0: any."""

    kind: str
    value: str
    port: int
    protocol: str

    @property
    def cluster(self) -> str:
        """The cluster that leads there; all of HTTP at one port share one."""
        value = "http" if self.protocol in HTTP_PROTOCOLS else f"{self.protocol}_{self.value}"
        return f"meshpassthrough_{value}_{self.port or '*'}"


def matches_of(confs: KindConfs) -> tuple[Match, ...] | None:
    """The places that a proxy may reach; None when no policy restricts it."""
    conf = conf_of(KIND, confs)
    if conf is None or conf.passthrough_mode == "All":
        return None
    if conf.passthrough_mode == "None":
        return ()
    found = {Match(m.type, m.value, m.port or 0, m.protocol) for m in conf.append_match or ()}
    return tuple(sorted(found, key=_precision))


def fitting(matches: Iterable[Match], ip_version: int) -> tuple[Match, ...]:
    """The places that the listener of one address family can let through; with none it must not exist."""
    return tuple(match for match in matches if _fits(match, ip_version))


def _precision(match: Match) -> tuple[Any, ...]:
    length = 0
    if match.kind == "CIDR":
        length = -ipaddress.ip_network(match.value, strict=False).prefixlen
    wildcard = match.kind == "Domain" and match.value.startswith("*")
    return (_TYPES[match.kind], match.port == 0, wildcard, length, -len(match.value), match)


def edit_passthrough(draft: Draft, passthrough: Passthrough) -> None:
    """Replace the open chain of the outbound listener by one per allowed place."""
    if passthrough.direction != "outbound" or passthrough.matches is None:
        return
    draft["filter_chains"] = [*_tcp_chains(passthrough.matches), *_http_chains(passthrough.matches)]
    hcm.add_tls_inspector(draft)
    if any(match.protocol in HTTP_PROTOCOLS for match in passthrough.matches):
        draft["listener_filters"].append(named(HTTP_INSPECTOR_FILTER, HTTP_INSPECTOR))


def _fits(match: Match, ip_version: int) -> bool:
    if match.kind == "Domain":
        return True
    return ipaddress.ip_network(match.value, strict=False).version == ip_version


def _tcp_chains(matches: Iterable[Match]) -> Iterator[Draft]:
    for match in matches:
        if match.protocol not in HTTP_PROTOCOLS:
            proxy = hcm.tcp_proxy(match.cluster, match.cluster)
            yield {"name": match.cluster, "filter_chain_match": _chain_match(match), "filters": [proxy]}


def _chain_match(match: Match) -> Draft:
    draft: Draft = {}
    if match.protocol == "tls":
        draft["transport_protocol"] = "tls"
    if match.port:
        draft["destination_port"] = wrapped(match.port)
    if match.kind == "Domain":
        draft["server_names"] = [match.value]
    else:
        draft["prefix_ranges"] = [_range(match)]
    return draft


def _range(match: Match) -> Draft:
    network = ipaddress.ip_network(match.value, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": wrapped(network.prefixlen)}


def _http_chains(matches: Iterable[Match]) -> Iterator[Draft]:
    """One chain per port: an HTTP request tells its host only after the chain is chosen."""
    by_port: dict[int, list[Match]] = {}
    for match in matches:
        if match.protocol in HTTP_PROTOCOLS:
            by_port.setdefault(match.port, []).append(match)
    for port, found in sorted(by_port.items(), key=lambda pair: (pair[0] == 0, pair[0])):
        name = found[0].cluster
        chain: Draft = {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]}
        if port:
            chain["destination_port"] = wrapped(port)
        manager = hcm.http_manager(name, _hosts(name, found))
        yield {"name": name, "filter_chain_match": chain, "filters": [manager]}


def _hosts(name: str, matches: list[Match]) -> Draft:
    action = {"match": {"prefix": "/"}, "route": {"cluster": name}}
    hosts: list[Draft] = [
        {"name": match.value, "domains": list(dict.fromkeys(_domains(match))), "routes": [action]}
        for match in {found.value: found for found in matches}.values()
        if match.kind != "CIDR"
    ]
    open_network = any(match.kind == "CIDR" for match in matches)
    refused = {"match": {"prefix": "/"}, "direct_response": {"status": _UNMATCHED_STATUS}}
    hosts.append({"name": "no_match", "domains": ["*"], "routes": [action if open_network else refused]})
    return {"name": name, "virtual_hosts": hosts, "validate_clusters": wrapped(False)}


def _domains(match: Match) -> Iterator[str]:
    host = f"[{match.value}]" if match.kind == "IP" and ":" in match.value else match.value
    yield host
    if match.port and not host.startswith("*"):
        yield f"{host}:{match.port}"
