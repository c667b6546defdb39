"""Which policies of one kind are for one proxy, on which of its endpoints, and why others are not.

The answer keeps the policies in the order in which they are merged.  It depends on the proxy through few
facts (labels, tags, names that policies mention), so many proxies get equal answers: `MatchedPolicies.key`
names the answer by content, and whatever is computed from it can be shared by all proxies with that key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mesh.policy.meta import Meta, Role, kri
from mesh.policy.order import sort_policies
from mesh.policy.proxy import Endpoint, Proxy, has_tags, item_of, proxy_of, same_zone
from mesh.policy.values import Item, TargetRef, target_of
from mesh.reader import Reader
from mesh.resource import SERVICE_TAG, Resource


class Selection(NamedTuple):
    """Verdict on one policy: the selected endpoints, or why it was passed over.

    Most policies are passed over by most proxies, and seldom does anybody ask why; so the reason is a
    template with its detail, and becomes text on demand.
    """

    endpoints: tuple[Endpoint, ...] = ()
    template: str = ""
    detail: tuple[Any, ...] = ()

    @property
    def selected(self) -> bool:
        return not self.template

    @property
    def reason(self) -> str:
        """Why the policy was passed over; empty when it was not."""
        shown = [_pairs(part) if isinstance(part, Mapping) else part for part in self.detail]
        return self.template.format(*shown)


@dataclass(frozen=True)
class MatchedPolicies:
    """Policies of one kind for one proxy, least important first everywhere.

    `policies` concern the proxy as a whole (`to`, and single `default`s); `by_endpoint` has an entry for
    each inbound or listener that at least one policy selects.
    """

    kind: str
    policies: tuple[Item, ...] = ()
    by_endpoint: dict[Endpoint, tuple[Item, ...]] = field(default_factory=dict)
    verdicts: tuple[tuple[Meta, Selection], ...] = ()

    @property
    def passed_over(self) -> list[tuple[Meta, str]]:
        """Policies that were considered and do not apply, with the reason."""
        return [(meta, verdict.reason) for meta, verdict in self.verdicts]

    @property
    def key(self) -> tuple[str, ...]:
        """Resource names of `policies`: equal for proxies that share all results but the inbound ones."""
        return tuple(policy.meta.name for policy in self.policies)

    def by_socket(self) -> dict[tuple[str, int], tuple[Item, ...]]:
        """Policies by address and port.  Listeners of a gateway share a port when their hostnames differ."""
        sockets: dict[tuple[str, int], set[int]] = {}
        for endpoint, selected in self.by_endpoint.items():
            sockets.setdefault(endpoint.socket, set()).update(id(policy) for policy in selected)
        return {
            socket: tuple(policy for policy in self.policies if id(policy) in chosen)
            for socket, chosen in sockets.items()
        }

    def endpoint_key(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Resource names of the policies of one endpoint; equal keys share their inbound rules."""
        return tuple(policy.meta.name for policy in self.by_endpoint.get(endpoint, ()))


def matched(reader: Reader, dataplane: Resource, kind: str, *, shadow: bool = False) -> MatchedPolicies:
    """Select the policies of `kind` for a Dataplane.  `shadow` adds those that only take part in what-ifs."""
    proxy = proxy_of(reader, item_of(dataplane))
    return match_proxy(reader, proxy, kind, shadow=shadow)


def match_proxy(reader: Reader, proxy: Proxy, kind: str, *, shadow: bool = False) -> MatchedPolicies:
    """As `matched`, for a proxy whose facts are known."""
    return match_policies(reader, proxy, kind, ordered_policies(reader, kind, proxy.meta.mesh), shadow=shadow)


def ordered_policies(reader: Reader, kind: str, mesh: str) -> tuple[Item, ...]:
    """All policies of a kind in a mesh, least important first: the same for all proxies of the mesh."""
    return tuple(sort_policies(item_of(resource) for resource in reader.list(kind, mesh)))


def match_policies(
    reader: Reader, proxy: Proxy, kind: str, policies: Sequence[Item], *, shadow: bool = False
) -> MatchedPolicies:
    """As `matched`, among the given policies, which are ordered (`ordered_policies`)."""
    chosen: list[Item] = []
    by_endpoint: dict[Endpoint, list[Item]] = {}
    passed: list[tuple[Meta, Selection]] = []
    for policy in policies:
        verdict = consider(reader, policy, proxy, shadow=shadow)
        if not verdict.selected:
            passed.append((policy.meta, verdict))
            continue
        chosen.append(policy)
        for endpoint in verdict.endpoints:
            by_endpoint.setdefault(endpoint, []).append(policy)
    per_endpoint = {e: tuple(by_endpoint[e]) for e in proxy.endpoints if e in by_endpoint}
    return MatchedPolicies(kind, tuple(chosen), per_endpoint, tuple(passed))


def consider(reader: Reader, policy: Item, proxy: Proxy, *, shadow: bool = False) -> Selection:
    """Decide whether one policy is for one proxy."""
    meta = policy.meta
    if meta.shadow and not shadow:
        return Selection(template="is a shadow policy")
    if meta.role is not Role.PRODUCER and not same_zone(meta, proxy.meta):
        return Selection((), "belongs to zone {!r}, the proxy is in {!r}", (meta.zone, proxy.meta.zone))
    if meta.role in (Role.CONSUMER, Role.WORKLOAD_OWNER) and meta.namespace != proxy.meta.namespace:
        return Selection((), "applies in its own namespace {!r} only", (meta.namespace,))
    return _select(reader, policy, target_of(policy), proxy)


def _select(reader: Reader, policy: Item, ref: TargetRef, proxy: Proxy) -> Selection:
    kind = ref["kind"]
    if kind == "Dataplane":
        return _select_dataplane(policy.meta, ref, proxy)
    types = ref.get("proxyTypes")
    if types and kind in ("Mesh", "MeshSubset") and proxy.proxy_type not in types:
        return Selection((), "is for proxies of type {}", (", ".join(types),))
    if kind == "Mesh":
        return Selection(proxy.endpoints)
    if kind == "MeshGateway":
        return _select_gateway(policy.meta, ref, proxy)
    if kind == "MeshHTTPRoute":
        return _select_by_route(reader, policy, ref, proxy)
    tags = ref.get("tags") or {}
    if kind in ("MeshService", "MeshServiceSubset"):
        tags = {SERVICE_TAG: ref.get("name") or "", **tags}
    return _select_by_tags(tags, proxy)


def _select_dataplane(policy: Meta, ref: TargetRef, proxy: Proxy) -> Selection:
    labels = ref.get("labels") or {}
    have = proxy.meta.labels
    for key, value in labels.items():
        if have.get(key) != value:
            return Selection((), "selects proxies with labels {}", (labels,))
    if name := ref.get("name"):
        wanted = kri(
            "Dataplane", proxy.meta.mesh, policy.zone, ref.get("namespace") or policy.namespace, name
        )
        if wanted != proxy.meta.kri:
            return Selection((), "selects the proxy {}", (wanted,))
    section = ref.get("sectionName")
    if not section:
        return Selection(proxy.endpoints)
    endpoints = tuple(endpoint for endpoint in proxy.endpoints if endpoint.named(section))
    if endpoints:
        return Selection(endpoints)
    return Selection((), "selects the inbound {!r}, which the proxy lacks", (section,))


def _select_by_tags(tags: Mapping[str, str], proxy: Proxy) -> Selection:
    endpoints = tuple(endpoint for endpoint in proxy.endpoints if has_tags(tags, endpoint.tags))
    if endpoints or (proxy.gateway and has_tags(tags, proxy.gateway_tags)) or not tags:
        return Selection(endpoints)
    return Selection((), "selects proxies with tags {}", (tags,))


def _select_gateway(policy: Meta, ref: TargetRef, proxy: Proxy) -> Selection:
    name = ref.get("name") or ""
    gateway = proxy.gateway_meta
    if gateway is None or not referenced(policy, name, gateway):
        return Selection((), "selects the gateway {!r}", (name,))
    tags = ref.get("tags") or {}
    endpoints = tuple(endpoint for endpoint in proxy.endpoints if has_tags(tags, endpoint.tags))
    if endpoints or not tags:
        return Selection(endpoints)
    return Selection((), "selects listeners with tags {}", (tags,))


def _select_by_route(reader: Reader, policy: Item, ref: TargetRef, proxy: Proxy) -> Selection:
    name = ref.get("name") or ""
    route = find_route(reader, policy.meta, name)
    if route is None:
        return Selection((), "selects the MeshHTTPRoute {!r}, which does not exist", (name,))
    if target_of(route)["kind"] == "MeshHTTPRoute":
        return Selection((), "selects the MeshHTTPRoute {!r}, which selects another route", (name,))
    verdict = consider(reader, route, proxy)
    return (
        verdict
        if verdict.selected
        else Selection((), "its MeshHTTPRoute " + verdict.template, verdict.detail)
    )


def find_route(reader: Reader, policy: Meta, name: str) -> Item | None:
    """The MeshHTTPRoute that a policy's top-level targetRef names, by stored or by display name."""
    stored = reader.get("MeshHTTPRoute", policy.mesh, name)
    candidates = [stored] if stored is not None else []
    for key in reader.lookup("by_display_name", "MeshHTTPRoute", policy.mesh, name):
        if (copy := reader.get(*key)) is not None:
            candidates.append(copy)
    routes = (item_of(candidate) for candidate in candidates)
    return next((route for route in routes if referenced(policy, name, route.meta)), None)


def referenced(by: Meta, name: str, resource: Meta) -> bool:
    """Whether a plain name written in `by` means `resource`, here or where it was copied from."""
    zones = {zone for zone in (by.zone, resource.zone) if zone}
    return name in (resource.name, resource.display_name) and len(zones) <= 1


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())
