"""MeshPassthrough: which traffic to places outside the mesh a proxy lets through.

All of it, none, or what matches. What matches becomes filter chains of the outbound passthrough
listener: by server name for TLS, by host for HTTP, by address for the rest. Envoy looks at the port
first, then at the address, the server name, and the protocols, and never goes back to a port less
precise: so what is allowed at any port is repeated for each port that is named.
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
SPEAKS_FIRST = "mysql"
_PROTOCOLS = {"tls": 0, "tcp": 1, SPEAKS_FIRST: 1, "http": 2, "http2": 3, "grpc": 4}
_TYPES = {"IP": 0, "CIDR": 2, "Domain": 4}
_UNMATCHED_STATUS = 503
_UNMATCHED_BODY = "No MeshPassthrough of this proxy lets requests for this host out of the mesh.\n"


class Match(NamedTuple):
    """One place outside. port 0: any port that no other match names."""

    kind: str
    value: str
    port: int
    protocol: str

    @property
    def cluster(self) -> str:
        """The cluster that leads there."""
        return f"meshpassthrough_{self.value}_{self.port or '*'}"

    @property
    def chain(self) -> str:
        """The filter chain that lets it through; by host, all of a protocol at one port share one."""
        protocol = "tcp" if self.protocol == SPEAKS_FIRST else self.protocol
        value = "" if self.by_host else f"_{self.value}"
        return f"meshpassthrough_{protocol}{value}_{self.port or '*'}"

    @property
    def by_host(self) -> bool:
        """Whether the host of a request tells it."""
        return self.kind == "Domain" and self.protocol in HTTP_PROTOCOLS

    @property
    def wildcard(self) -> bool:
        return self.kind == "Domain" and self.value.startswith("*")


class Allowed(NamedTuple):
    """What a proxy may reach outside the mesh.

    everything: whether there is a way to where traffic was going. matches: the only places, if any.
    """

    everything: bool
    matches: tuple[Match, ...] = ()

    def clusters(self) -> Iterator[tuple[str, bool]]:
        """The clusters of the places, and whether HTTP/2 is spoken to each."""
        http2 = {match.cluster for match in self.matches if match.protocol in ("http2", "grpc")}
        for name in dict.fromkeys(match.cluster for match in self.matches):
            yield name, name in http2


def allowed_of(confs: KindConfs, mesh_open: bool) -> Allowed:
    """What the policies of a proxy let it reach, or without any, its mesh."""
    conf = conf_of(KIND, confs)
    if conf is None:
        return Allowed(mesh_open)
    if conf.passthrough_mode in ("All", "None"):
        return Allowed(conf.passthrough_mode == "All")
    found = {Match(m.type, m.value.lower(), m.port or 0, m.protocol) for m in conf.append_match or ()}
    return Allowed(False, tuple(sorted(_repeated(found), key=_precision)))


def _repeated(matches: set[Match]) -> set[Match]:
    """The matches, those of any port also at each port that another names.

    A port speaks one HTTP dialect, which hosts of any port adopt there.
    """
    found = set(matches)
    dialects = {match.port: match.protocol for match in sorted(matches) if match.by_host}
    http = {match[:3] for match in matches if match.protocol in HTTP_PROTOCOLS}
    for match in matches:
        if match.port:
            continue
        for port in {other.port for other in matches} - {0}:
            repeated = match._replace(port=port)
            if match.by_host:
                repeated = repeated._replace(protocol=dialects.get(port, match.protocol))
            if match.protocol not in HTTP_PROTOCOLS or repeated[:3] not in http:
                found.add(repeated)
    return found


def _precision(match: Match) -> tuple[Any, ...]:
    kind, detail = _TYPES[match.kind], 0
    if match.kind == "Domain":
        kind += match.wildcard
        detail = -match.value.count(".")
    else:
        network = ipaddress.ip_network(match.value, strict=False)
        kind += network.version == 4
        detail = -network.prefixlen
    return (_PROTOCOLS[match.protocol], -match.port, kind, detail, match)


def edit_passthrough(draft: Draft, passthrough: Passthrough) -> None:
    """Replace the chain of the outbound listener by those of the allowed places, if its family has any."""
    matches = tuple(match for match in passthrough.matches if _fits(match, passthrough.ip_version))
    if passthrough.direction != "outbound" or not matches:
        return
    draft["filter_chains"] = _unambiguous([*_chains_by_address(matches), *_chains_by_host(matches)])
    hcm.add_tls_inspector(draft)
    draft["listener_filters"].append(named(HTTP_INSPECTOR_FILTER, HTTP_INSPECTOR))
    _let_servers_speak_first(draft, matches)


def _fits(match: Match, ip_version: int) -> bool:
    if match.kind == "Domain":
        return True
    return ipaddress.ip_network(match.value, strict=False).version == ip_version


def _unambiguous(chains: Iterable[Draft]) -> list[Draft]:
    """The first chain of each condition: one network may be written in several ways."""
    found: dict[str, Draft] = {}
    for chain in chains:
        found.setdefault(repr(sorted(chain["filter_chain_match"].items())), chain)
    return list(found.values())


def _let_servers_speak_first(draft: Draft, matches: Iterable[Match]) -> None:
    """Where the server speaks first, an inspector would wait for the client in vain."""
    ports = sorted({match.port for match in matches if match.protocol == SPEAKS_FIRST and match.port})
    if not ports:
        return
    rules = [{"destination_port_range": {"start": port, "end": port + 1}} for port in ports]
    for inspector in draft["listener_filters"]:
        inspector["filter_disabled"] = {"or_match": {"rules": rules}} if len(rules) > 1 else rules[0]


def _chains_by_address(matches: Iterable[Match]) -> Iterator[Draft]:
    """The chains that are chosen by address or by TLS server name."""
    for match in matches:
        if not match.by_host:
            condition = _condition(match)
            if match.kind != "Domain":
                condition["prefix_ranges"] = [_range(match)]
            elif match.protocol == "tls":
                condition["server_names"] = [match.value]
            if match.protocol in HTTP_PROTOCOLS:
                leads = _manager(match.chain, [_host(match, ["*"])])
            else:
                leads = hcm.tcp_proxy(match.cluster, match.cluster)
            yield {"name": match.chain, "filter_chain_match": condition, "filters": [leads]}


def _condition(match: Match) -> Draft:
    draft: Draft = {"transport_protocol": "tls" if match.protocol == "tls" else "raw_buffer"}
    if match.protocol in HTTP_PROTOCOLS:
        draft["application_protocols"] = ["http/1.1", "h2c"]
    if match.port:
        draft["destination_port"] = wrapped(match.port)
    return draft


def _range(match: Match) -> Draft:
    network = ipaddress.ip_network(match.value, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": wrapped(network.prefixlen)}


def _chains_by_host(matches: Iterable[Match]) -> Iterator[Draft]:
    """One chain per port: an HTTP request tells its host only after the chain is chosen."""
    by_chain: dict[str, list[Match]] = {}
    for match in matches:
        if match.by_host:
            by_chain.setdefault(match.chain, []).append(match)
    refused = {
        "match": {"prefix": "/"},
        "direct_response": {"status": _UNMATCHED_STATUS, "body": {"inline_string": _UNMATCHED_BODY}},
    }
    for name, found in by_chain.items():
        hosts = [_host(match, list(_domains(match))) for match in found]
        hosts.append({"name": "no_match", "domains": ["*"], "routes": [refused]})
        condition = _condition(found[0])
        yield {"name": name, "filter_chain_match": condition, "filters": [_manager(name, hosts)]}


def _manager(name: str, hosts: list[Draft]) -> Draft:
    return hcm.http_manager(name, {"name": name, "virtual_hosts": hosts, "validate_clusters": wrapped(False)})


def _host(match: Match, domains: list[str]) -> Draft:
    route = {"match": {"prefix": "/"}, "route": {"cluster": match.cluster}}
    return {"name": match.value, "domains": domains, "routes": [route]}


def _domains(match: Match) -> Iterator[str]:
    """The host as clients write it, without a port or with."""
    yield match.value
    if match.port:
        yield f"{match.value}:{match.port}"
    elif not match.wildcard:
        yield f"{match.value}:*"
