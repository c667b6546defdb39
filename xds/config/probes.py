"""Virtual probes: paths of the application that who probes it may ask for without certificates.

Each path of the probing port leads to one path of the application, through the cluster of the inbound that is in front
of it; a port that no inbound is for is answered with a redirect to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from xds.config import hcm
from xds.config.draft import Draft, serialized, wrapped
from xds.config.facts import DataplaneFacts, Probes
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import LISTENER, Encoded

NAME = "probe:listener"
ROUTES_NAME = "probe:route_configuration"
HOST_NAME = "probe"


@dataclass(frozen=True, slots=True)
class Probing:
    """Everything that the listener depends on. clusters: (port of the application, name of its cluster)."""

    address: str
    transparent: bool
    reuse_port: bool
    probes: Probes
    clusters: tuple[tuple[int, str], ...]


def probing(
    facts: DataplaneFacts, clusters: tuple[tuple[int, str], ...], *, reuse_port: bool
) -> Probing | None:
    """The probing port of a proxy; None when it has none."""
    if facts.probes is None or not facts.probes.port:
        return None
    return Probing(facts.address, facts.transparent is not None, reuse_port, facts.probes, clusters)


@derivation
def probe_listener(ctx: Context, value: Probing) -> Encoded:
    """The listener of a probing port."""
    draft = hcm.listener(NAME, value.address, value.probes.port, "INBOUND")
    draft["enable_reuse_port"] = wrapped(value.reuse_port)
    if value.transparent:
        draft["bind_to_port"] = wrapped(False)
    routes = hcm.route_config(ROUTES_NAME, HOST_NAME, list(_routes(value)))
    draft["filter_chains"] = [{"filters": [hcm.http_manager(NAME, routes)]}]
    return encode(LISTENER, NAME, serialized(hcm.LISTENER, draft))


def _routes(value: Probing) -> Iterator[Draft]:
    clusters = dict(value.clusters)
    for path, port, target in value.probes.endpoints:
        here, there = urlsplit(path).path or "/", urlsplit(target).path or "/"
        route: Draft = {"match": {"path": here}}
        if port in clusters:
            route["route"] = {"cluster": clusters[port], "regex_rewrite": _whole(there)}
        else:
            route["redirect"] = {"path_redirect": there, "port_redirect": port, "response_code": "FOUND"}
        yield route


def _whole(path: str) -> Draft:
    return {"pattern": {"regex": ".*"}, "substitution": path}
