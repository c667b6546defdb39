"""Meshes for the xDS benchmark, in which each service has about as many clients in any size.

P proxies, S services; each proxy is an instance of one service and, by its reachable backends, the
client of a few. The service `s0` is the one that changes: it has one instance and CLIENTS clients,
however large the mesh is, so that what a change of it costs can be compared between sizes.
"""

from __future__ import annotations

from bench.bench_derive import MESH, address, resource, service, timeout
from mesh.resource import Resource
from mesh.view import Changes, View

CLIENTS = 20  # proxies that use the service that changes
REACHABLE = 10  # services that each proxy uses, at most
JOINING = 9  # proxies, the last ones, that join later, one after the other


def reachable(number: int, services: int) -> list[str]:
    """The services that a proxy uses; only the first CLIENTS proxies use s0."""
    others = services - 1
    found = {f"s{1 + (number * 7 + n * 13) % others}" for n in range(min(REACHABLE - 1, others))}
    return sorted(found | ({"s0"} if number < CLIENTS else set()))


def dataplane(number: int, services: int) -> Resource:
    tags = {"kuma.io/service": f"s{1 + number % (services - 1)}", "kuma.io/protocol": "http"}
    refs = [{"kind": "MeshService", "name": name} for name in reachable(number, services)]
    redirect = {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}
    networking = {
        "address": address(number),
        "inbound": [{"port": 8080, "tags": tags}],
        "transparentProxying": {**redirect, "reachableBackends": {"refs": refs}},
    }
    return resource({"type": "Dataplane", "mesh": MESH, "name": f"dp-{number}", "networking": networking})


def instance(number: int) -> Resource:
    """The instance of s0, no proxy of the benchmark; each number is another address."""
    tags = {"kuma.io/service": "s0", "kuma.io/protocol": "http"}
    networking = {"address": address(1 << 20 | number), "inbound": [{"port": 8080, "tags": tags}]}
    return resource({"type": "Dataplane", "mesh": MESH, "name": "moving", "networking": networking})


def route(number: int) -> Resource:
    """A route to s0 that sets a header."""
    header = {"set": [{"name": "x-bench", "value": str(number)}]}
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": header}]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "default": {"filters": filters}}
    spec = {"to": [{"targetRef": {"kind": "MeshService", "name": "s0"}, "rules": [rule]}]}
    return resource({"type": "MeshHTTPRoute", "mesh": MESH, "name": "bench", "spec": spec})


class Mesh:
    """The newest view, and the changes that the benchmark makes."""

    def __init__(self, services: int, proxies: int) -> None:
        self.services, self.proxies = services, proxies
        mtls = {"enabledBackend": "ca", "backends": [{"name": "ca", "type": "builtin"}]}
        spec = {"meshServices": {"mode": "Exclusive"}, "mtls": mtls}
        settings = resource({"type": "Mesh", "name": MESH, **spec})
        existing = [service(n) for n in range(services)]
        existing += [dataplane(n, services) for n in range(proxies + JOINING)]
        existing += [instance(0), route(0)]
        self.view = View.of([settings, *existing])

    def change(self, kind: str, number: int) -> Changes:
        """Make the number-th change of a kind: "endpoint", "route" or "mesh-wide policy"."""
        if kind == "endpoint":
            made = instance(1 + number)
        elif kind == "route":
            made = route(1 + number)
        else:
            made = timeout("all", "Mesh", 1 + number)
        self.view, changes = self.view.with_changes(self.view.index + 1, ((made.key, made),))
        return changes
