"""What the inspection API tells about one proxy: the rules that apply to it, and where each comes from.

`rules_document` is the body of `…/dataplanes/<name>/_rules`: all rules of all kinds, in the three spellings
that exist (resource rules, inbound rules, and rules by tags).  The other functions are the narrower views by
proxy, inbound, outbound and route, in which policies are named by KRI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mesh.policy.inbound import InboundRule, InboundRules, from_entries, inbound_rules
from mesh.policy.kinds import POLICY_KINDS, ROUTE_KINDS, PolicyKind
from mesh.policy.merge import hash_matches
from mesh.policy.meta import Meta
from mesh.policy.outbound import OutboundRules, ResourceRule, outbound_rules
from mesh.policy.proxy import Endpoint, Proxy, gateway_proxy, item_of, proxy_of
from mesh.policy.single import single_rule
from mesh.policy.subset import SubsetRule, expand_routes, from_subset_rules, to_subset_rules
from mesh.policy.targetref import MatchedPolicies, consider, match_proxy
from mesh.policy.values import Item, Source
from mesh.reader import Reader
from mesh.resource import Resource

Json = dict[str, Any]


def rules_document(reader: Reader, dataplane: Resource, *, shadow: bool = False) -> Json:
    """All rules of a Dataplane."""
    item = item_of(dataplane)
    return _document(reader, item.meta, proxy_of(reader, item), shadow=shadow)


def gateway_rules_document(reader: Reader, gateway: Resource, *, shadow: bool = False) -> Json:
    """All rules of a MeshGateway, as a proxy would get them that serves it."""
    item = item_of(gateway)
    tags = next((dict(s.get("match") or {}) for s in item.spec.get("selectors") or ()), {})
    return _document(reader, item.meta, gateway_proxy(item.meta, item, "", tags), shadow=shadow)


def _document(reader: Reader, resource: Meta, proxy: Proxy, *, shadow: bool) -> Json:
    exclusive = meshservices_exclusive(reader, proxy.meta.mesh)
    rules: list[Json] = []
    http_matches: dict[str, Any] = {}
    for kind in POLICY_KINDS:
        matched = match_proxy(reader, proxy, kind.name, shadow=shadow)
        if not matched.policies:
            continue
        to_resources = outbound_rules(reader, kind.name, proxy.meta.mesh, matched.policies)
        to_tags = [] if exclusive else _to_tags(reader, kind, matched)
        rule = _rule_json(kind, matched, to_resources, to_tags)
        if rule is not None:
            rules.append(rule)
        if kind.name == "MeshHTTPRoute":
            http_matches |= _http_matches(to_resources, to_tags)
    matches = [{"hash": key, "match": http_matches[key]} for key in sorted(http_matches)]
    return {"resource": meta_json(resource), "httpMatches": matches, "rules": rules}


def meshservices_exclusive(reader: Reader, mesh: str) -> bool:
    """Whether the mesh knows real services only, so that rules by tags do not exist in it."""
    stored = reader.get("Mesh", "", mesh)
    mode = (item_of(stored).spec.get("meshServices") or {}).get("mode") if stored is not None else None
    return mode == "Exclusive"


def _to_tags(reader: Reader, kind: PolicyKind, matched: MatchedPolicies) -> list[SubsetRule]:
    return to_subset_rules(kind.name, expand_routes(reader, matched.policies))


def _rule_json(
    kind: PolicyKind, matched: MatchedPolicies, to_resources: OutboundRules, to_tags: Sequence[SubsetRule]
) -> Json | None:
    proxy_rule = single_rule(kind.name, matched.policies) if kind.single else None
    result: Json = {
        "type": kind.name,
        "toRules": [_subset_json(rule) for rule in to_tags],
        "toResourceRules": [_resource_rule_json(rule) for rule in to_resources],
        "fromRules": list(_from_json(kind, matched)),
        "inboundRules": list(_inbound_json(kind, matched)),
    }
    if proxy_rule is not None:
        origins = [meta_json(source.meta) for source in proxy_rule.origins]
        result["proxyRule"] = {"conf": proxy_rule.conf, "origin": origins}
    if not any(result[field] for field in result if field != "type"):
        return None
    return result | {"warnings": []}


def _from_json(kind: PolicyKind, matched: MatchedPolicies) -> Iterator[Json]:
    for endpoint, policies in _by_port(matched):
        if rules := from_subset_rules(kind.name, list(from_entries(policies))):
            yield {"inbound": _endpoint_json(endpoint), "rules": [_subset_json(rule) for rule in rules]}


def _inbound_json(kind: PolicyKind, matched: MatchedPolicies) -> Iterator[Json]:
    for endpoint, policies in _by_port(matched):
        bodies = [
            _match_json(rule) | {"conf": [rule.conf], "origin": [source_json(rule.source)]}
            for rule in inbound_rules(kind.name, policies).rules
        ]
        if bodies:
            yield {"inbound": _endpoint_json(endpoint), "rules": bodies}


def _match_json(rule: InboundRule) -> Json:
    return {"match": rule.match} if rule.match is not None else {}


def _by_port(matched: MatchedPolicies) -> list[tuple[Endpoint, Sequence[Item]]]:
    """Policies by inbound, in order of ports.  Gateway listeners that share a port count as one."""
    sockets = matched.by_socket()
    first = {endpoint.socket: endpoint for endpoint in reversed(matched.by_endpoint)}
    return [(first[socket], sockets[socket]) for socket in sorted(sockets, key=lambda s: (s[1], s[0]))]


def _endpoint_json(endpoint: Endpoint) -> Json:
    named: Json = {"name": endpoint.name} if endpoint.name else {}
    return named | {"port": endpoint.port, "tags": dict(endpoint.tags)}


def _subset_json(rule: SubsetRule) -> Json:
    return {
        "matchers": [{"key": tag.key, "not": tag.negated, "value": tag.value} for tag in rule.subset],
        "conf": rule.conf,
        "origin": [meta_json(source.meta) for source in rule.rule.origins],
    }


def _resource_rule_json(rule: ResourceRule) -> Json:
    return {
        "conf": list(rule.confs),
        "origin": [source_json(source) for source in rule.origins],
        "resourceMeta": meta_json(rule.destination.meta),
        "resourceSectionName": rule.destination.section,
    }


def _http_matches(to_resources: OutboundRules, to_tags: Sequence[SubsetRule]) -> dict[str, Any]:
    confs = [conf for rule in to_resources for conf in rule.confs] + [dict(rule.conf) for rule in to_tags]
    return {
        hash_matches(route.get("matches") or []): route.get("matches") or []
        for conf in confs
        for route in conf.get("rules") or ()
    }


def meta_json(meta: Meta) -> Json:
    """How the inspection API names a resource."""
    return {"type": meta.kind, "mesh": meta.mesh, "name": meta.name, "labels": dict(meta.labels)}


def source_json(source: Source) -> Json:
    """A policy and the position within its list."""
    return {"resourceMeta": meta_json(source.meta), "ruleIndex": source.rule_index}


def _kris(origins: Sequence[Source]) -> list[Json]:
    return [{"kri": identifier} for identifier in dict.fromkeys(source.meta.kri for source in origins)]


def policies_document(reader: Reader, dataplane: Resource) -> Json:
    """Confs of the policies that configure a proxy as a whole."""
    policies = []
    for kind, matched in _matched_kinds(reader, dataplane):
        if kind.single and (rule := single_rule(kind.name, matched.policies)):
            policies.append({"kind": kind.name, "conf": rule.conf, "origins": _kris(rule.origins)})
    return {"policies": policies}


def inbound_policies_document(reader: Reader, dataplane: Resource, section: str) -> Json:
    """Rules for one inbound, named by its name or port; empty for an inbound that the proxy lacks."""
    policies = []
    for kind, matched in _matched_kinds(reader, dataplane):
        chosen = [found for e, found in matched.by_endpoint.items() if e.named(section)]
        rules = inbound_rules(kind.name, chosen[0] if chosen else ())
        if (kind.has_rules or kind.has_from) and rules:
            policies.append(
                {"kind": kind.name, "origins": _kris(rules.origins()), "rules": _inbound_list(rules)}
            )
    return {"policies": policies}


def _inbound_list(rules: InboundRules) -> list[Json]:
    return [_match_json(rule) | {"conf": rule.conf, "kri": rule.source.meta.kri} for rule in rules.rules]


def outbound_policies_document(reader: Reader, dataplane: Resource, destination: str) -> Json:
    """Confs for one outbound, given as the KRI of the destination with its section.  Routes are apart."""
    policies = []
    for kind, rules in _outbound_kinds(reader, dataplane):
        rule = rules.conf_for(destination, destination.rpartition("_")[2])
        if rule is not None and kind.name not in ROUTE_KINDS:
            confs = list(rule.confs)
            policies.append({"kind": kind.name, "conf": confs, "origins": _kris(rule.origins)})
    return {"policies": policies}


def route_policies_document(reader: Reader, dataplane: Resource, destination: str, route: str) -> Json:
    """Confs that policies have for one route, given by its KRI, of an outbound, given by its own."""
    policies = []
    for kind, rules in _outbound_kinds(reader, dataplane):
        rule = rules.conf_for_route(route, destination, destination.rpartition("_")[2])
        if rule is not None and kind.name not in ROUTE_KINDS:
            confs = list(rule.confs)
            policies.append({"kind": kind.name, "conf": confs, "origins": _kris(rule.origins)})
    return {"policies": policies}


def routes_document(reader: Reader, dataplane: Resource, destination: str) -> Json:
    """Routes of one outbound, given as the KRI of the destination with its section."""
    routes = []
    for kind, rules in _outbound_kinds(reader, dataplane):
        rule = rules.conf_for(destination, destination.rpartition("_")[2])
        if rule is not None and kind.name in ROUTE_KINDS:
            bodies = _http_routes(rule) if kind.name == "MeshHTTPRoute" else _tcp_routes(rule)
            routes.append({"kind": kind.name, "origins": _kris(rule.origins), "rules": bodies})
    return {"routes": routes}


def _http_routes(rule: ResourceRule) -> list[Json]:
    return [
        {
            "conf": route["default"],
            "kri": rule.by_matches[hash_matches(route["matches"])].meta.kri,
            "matches": route["matches"],
        }
        for conf in rule.confs
        for route in conf["rules"]
    ]


def _tcp_routes(rule: ResourceRule) -> list[Json]:
    return [{"conf": conf.get("default", {}), "kri": "", "matches": None} for conf in rule.confs]


def _matched_kinds(reader: Reader, dataplane: Resource) -> Iterator[tuple[PolicyKind, MatchedPolicies]]:
    proxy = proxy_of(reader, item_of(dataplane))
    for kind in POLICY_KINDS:
        matched = match_proxy(reader, proxy, kind.name)
        if matched.policies:
            yield kind, matched


def _outbound_kinds(reader: Reader, dataplane: Resource) -> Iterator[tuple[PolicyKind, OutboundRules]]:
    for kind, matched in _matched_kinds(reader, dataplane):
        if kind.has_to:
            yield kind, outbound_rules(reader, kind.name, dataplane.mesh, matched.policies)


def selected_dataplanes(reader: Reader, policy: Resource) -> list[Resource]:
    """The Dataplanes that a policy applies to, sorted by name."""
    item = item_of(policy)
    return [
        dataplane
        for dataplane in sorted(reader.list("Dataplane", policy.mesh), key=lambda stored: stored.name)
        if consider(reader, item, proxy_of(reader, item_of(dataplane)), shadow=True).selected
    ]
