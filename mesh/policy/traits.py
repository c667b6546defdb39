"""What of a proxy can matter to a set of policies: the key under which proxies share a selection.

A thousand proxies of one service differ in name, address and a few labels that no policy mentions.  So the
proxy is reduced to what the policies of a kind mention: equal reduced proxies have equal selections, and the
selection is computed once for all of them.

    mentioned = mentions(reader, policies)             # once per kind and mesh
    small = reduced(proxy, mentioned)                  # hashable, per proxy, a few microseconds
    found = match_policies(reader, small, kind, policies)      # once per distinct `small`
    found.by_endpoint[small.endpoints[i]]              # for proxy.endpoints[i]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mesh.policy.meta import Meta, kri
from mesh.policy.proxy import Endpoint, Proxy
from mesh.policy.targetref import find_route
from mesh.policy.values import Item, target_of
from mesh.reader import Reader
from mesh.resource import K8S_NAMESPACE, ORIGIN, SERVICE_TAG, ZONE


@dataclass(frozen=True, slots=True)
class Mentions:
    """Label and tag keys, proxies (KRIs) and sections that some policies select by."""

    labels: frozenset[str]
    tags: frozenset[str]
    proxies: frozenset[str]
    sections: frozenset[str]


ALWAYS_LABELS = frozenset({ORIGIN, ZONE, K8S_NAMESPACE})
"""Labels that decide whether a policy may apply at all."""


def mentions(reader: Reader, policies: Sequence[Item]) -> Mentions:
    """All that the given policies, and the routes they select, mention."""
    labels, tags = set(ALWAYS_LABELS), set[str]()
    proxies, sections = set[str](), set[str]()
    for policy in _with_routes(reader, policies):
        ref, meta = target_of(policy), policy.meta
        kind, name = ref["kind"], ref.get("name") or ""
        tags.update(ref.get("tags") or ())
        if kind in ("MeshService", "MeshServiceSubset"):
            tags.add(SERVICE_TAG)
        elif kind == "Dataplane":
            labels.update(ref.get("labels") or ())
            sections.update([section] if (section := ref.get("sectionName")) else ())
            namespace = ref.get("namespace") or meta.namespace
            proxies.update([kri("Dataplane", meta.mesh, meta.zone, namespace, name)] if name else ())
    return Mentions(frozenset(labels), frozenset(tags), frozenset(proxies), frozenset(sections))


def _with_routes(reader: Reader, policies: Sequence[Item]) -> Iterable[Item]:
    for policy in policies:
        yield policy
        ref = target_of(policy)
        if ref["kind"] == "MeshHTTPRoute":
            route = find_route(reader, policy.meta, ref.get("name") or "")
            if route is not None:
                yield route


@dataclass(frozen=True)
class _Facts(Meta):
    """Identity of a reduced proxy: the KRI only when some policy names it."""

    identifier: str = ""

    @property
    def kri(self) -> str:
        return self.identifier


def reduced(proxy: Proxy, mentioned: Mentions) -> Proxy:
    """The proxy with nothing left but what was mentioned.  Endpoints keep their number and order."""
    meta = proxy.meta
    named = meta.kri if meta.kri in mentioned.proxies else ""
    labels = _only(meta.labels, mentioned.labels)
    endpoints = tuple(
        Endpoint(
            address=f"#{position}",
            port=endpoint.port if str(endpoint.port) in mentioned.sections else 0,
            name=endpoint.name if endpoint.name in mentioned.sections else "",
            tags=_only(endpoint.tags, mentioned.tags),
        )
        for position, endpoint in enumerate(proxy.endpoints)
    )
    tags = _only(proxy.gateway_tags, mentioned.tags)
    facts = _Facts("Dataplane", meta.mesh, _text([labels, tags, *(e.tags for e in endpoints)]), labels, named)
    return Proxy(facts, endpoints, proxy.gateway, tags, proxy.gateway_meta)


def _text(parts: Iterable[Mapping[str, str]]) -> str:
    """Stands in for the mappings where hashes are made, which leave mappings out."""
    return repr([sorted(part.items()) for part in parts])


def _only(pairs: Mapping[str, str], keys: frozenset[str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if key in keys}
