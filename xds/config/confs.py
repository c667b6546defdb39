"""Confs: what the policies of each kind say of one destination or inbound, as hashable values.

Selecting the policies of a proxy depends on the proxy; merging them depends on the selected names
only. So the names are one derivation per proxy, and everything after is shared by all proxies with
the same names. A merged conf travels as canonical JSON text: equal text stops the wave, and the text is
part of the identity of the cluster or listener that it configures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from mesh.policy.destination import resolve
from mesh.policy.inbound import InboundRules, from_entries, inbound_rules
from mesh.policy.kinds import POLICY_KINDS
from mesh.policy.merge import merge_confs
from mesh.policy.meta import kri, with_section
from mesh.policy.order import sort_outbound
from mesh.policy.outbound import OutboundRules, Rule, lookup_keys, outbound_entries, outbound_rules
from mesh.policy.proxy import Proxy, item_of, proxy_of
from mesh.policy.single import single_rule
from mesh.policy.subset import (
    Subset,
    SubsetRule,
    Tag,
    by_precedence,
    contains,
    expand_routes,
    from_subset_rules,
    to_subset_rules,
)
from mesh.policy.targetref import find_route, match_policies, ordered_policies
from mesh.policy.typed import CONF_TYPES
from mesh.policy.values import Entry, Item, target_of
from mesh.resource import SERVICE_TAG
from xds.config.otelrefs import resolved
from xds.engine import Context, derivation

KINDS = tuple(kind.name for kind in POLICY_KINDS)

BY_CALLER = frozenset({"MeshAccessLog", "MeshRateLimit", "MeshTimeout"})
"""Kinds beside permissions and faults whose `rules` may be for some callers only."""

INHERITED = frozenset({"MeshTimeout"})
"""Kinds whose conf for a route leaves what it does not set as it is for the destination."""

Names = tuple[str, ...]
KindConfs = tuple[tuple[str, str], ...]
"""(kind, canonical JSON) in order of application, only of kinds that say something."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Matched(msgspec.Struct, frozen=True):
    """Names of the policies that select a proxy, per kind; and per inbound, or listener of a gateway."""

    to: tuple[tuple[str, Names], ...]
    inbound: tuple[tuple[str, tuple[tuple[str, Names], ...]], ...]

    def of_inbound(self, address: str, port: int, hostname: str = "") -> tuple[tuple[str, Names], ...]:
        """The (kind, names) pairs of one inbound, or of one host name on a port of a gateway."""
        key = f"{address}:{port}:{hostname}" if hostname else f"{address}:{port}"
        return next((found for socket, found in self.inbound if socket == key), ())


def text_of(conf: Any) -> str:
    """A conf as canonical JSON."""
    return _encode(conf).decode()


def conf_of(kind: str, confs: KindConfs) -> Any:
    """The typed conf of a kind among `confs`, or None."""
    for name, text in confs:
        if name == kind:
            return msgspec.json.decode(text, type=CONF_TYPES[kind])
    return None


def raw_conf(kind: str, confs: KindConfs) -> Any:
    """As `conf_of`, but the plain JSON value: for confs that carry more than their type says."""
    return next((msgspec.json.decode(text) for name, text in confs if name == kind), None)


def only(confs: KindConfs, kinds: Iterable[str]) -> KindConfs:
    """The confs of some kinds: keeps what does not matter to a resource out of its identity."""
    return tuple(pair for pair in confs if pair[0] in kinds)


# --- selection -----------------------------------------------------------------------------------


@derivation
def policies_of(ctx: Context, kind: str, mesh: str) -> tuple[Item, ...]:
    """All policies of a kind, least important first."""
    return ordered_policies(ctx, kind, mesh)


@dataclass(frozen=True, slots=True)
class Selector(Item):
    """A policy without what it says; compared by content, so that a change of that selects nobody anew."""


@derivation
def selectors_of(ctx: Context, kind: str, mesh: str) -> tuple[Selector, ...]:
    """Whom each policy of a kind is for, least important first."""
    policies = policies_of(ctx, kind, mesh)
    return tuple(Selector(policy.meta, {"targetRef": target_of(policy)}) for policy in policies)


@derivation
def matched_policies(ctx: Context, mesh: str, name: str, shadow: bool) -> Matched | None:
    """Which policies select a Dataplane and its inbounds."""
    resource = ctx.get("Dataplane", mesh, name)
    if resource is None:
        return None
    return match_all(ctx, proxy_of(ctx, item_of(resource)), shadow)


def match_all(ctx: Context, proxy: Proxy, shadow: bool) -> Matched:
    """Which policies of any kind select a proxy and its endpoints."""
    to: list[tuple[str, Names]] = []
    inbound: dict[str, list[tuple[str, Names]]] = {}
    for kind in KINDS:
        found = match_policies(ctx, proxy, kind, selectors_of(ctx, kind, proxy.meta.mesh), shadow=shadow)
        if found.key:
            to.append((kind, found.key))
        for (address, port), policies in found.by_socket().items():
            names = tuple(policy.meta.name for policy in policies)
            inbound.setdefault(f"{address}:{port}", []).append((kind, names))
        for endpoint in found.by_endpoint if proxy.gateway_meta is not None else ():
            key = f"{endpoint.address}:{endpoint.port}:{endpoint.hostname}"
            inbound.setdefault(key, []).append((kind, found.endpoint_key(endpoint)))
    return Matched(tuple(to), tuple((key, tuple(found)) for key, found in inbound.items()))


@derivation
def policy_of(ctx: Context, kind: str, mesh: str, name: str) -> Item | None:
    """One policy."""
    resource = ctx.get(kind, mesh, name)
    return None if resource is None else resolved(ctx, item_of(resource))


def _items(ctx: Context, kind: str, mesh: str, names: Names) -> list[Item]:
    """The policies of those names, which were selected in order of importance."""
    found = (policy_of(ctx, kind, mesh, name) for name in names)
    return [policy for policy in found if policy is not None]


# --- outbound ------------------------------------------------------------------------------------


@derivation
def to_rules(ctx: Context, kind: str, mesh: str, names: Names) -> OutboundRules:
    """The merged `to` rules of some policies of one kind."""
    return outbound_rules(ctx, kind, mesh, _items(ctx, kind, mesh, names))


@derivation
def to_keys(ctx: Context, kind: str, mesh: str, names: Names) -> frozenset[str]:
    """For what there is a rule of its own. It stops the wave of a policy that says something else of the same."""
    return frozenset(to_rules(ctx, kind, mesh, names).rules)


@derivation
def to_text(ctx: Context, kind: str, mesh: str, names: Names, key: str) -> str:
    """The conf of one rule, which all destinations without a rule of their own share. Routes: all as a list."""
    return _text_of_rule(kind, to_rules(ctx, kind, mesh, names).rules[key])


@derivation
def to_conf(ctx: Context, kind: str, mesh: str, names: Names, destination: str, section: str) -> str:
    """The conf of a kind for one port of a destination; "" when none. Routes: all confs as a list."""
    keys = to_keys(ctx, kind, mesh, names)
    for key in lookup_keys(mesh, destination, section):
        if key in keys:
            return to_text(ctx, kind, mesh, names, key)
    return ""


@derivation
def route_conf(ctx: Context, kind: str, mesh: str, names: Names, route: str) -> str:
    """The conf of a kind for one MeshHTTPRoute (its KRI); "" when none is for that route itself."""
    key = with_section(route, "")
    return to_text(ctx, kind, mesh, names, key) if key in to_keys(ctx, kind, mesh, names) else ""


def conf_of_route(ctx: Context, kind: str, mesh: str, names: Names, route: str, base: str) -> str:
    """What a kind says of one MeshHTTPRoute (its KRI) where `base` holds for the destination (JSON; "" for
    nothing); "" when nothing is for the route itself."""
    if kind in INHERITED:
        return by_route_conf(ctx, kind, mesh, names, route, base)
    own = route_conf(ctx, kind, mesh, names, route)
    return by_route_conf(ctx, kind, mesh, names, route, own or base) or own


@derivation
def by_route_conf(ctx: Context, kind: str, mesh: str, names: Names, route: str, base: str) -> str:
    """The conf of a kind for one MeshHTTPRoute (its KRI) by policies that select that route at the top, and for
    INHERITED kinds by `to` elements for it, merged over `base` (JSON; "" for nothing); "" when there are none."""
    found = sort_outbound(outbound_entries(_items(ctx, kind, mesh, names)))
    entries = [entry for entry in found if _is_for_route(ctx, kind, entry, with_section(route, ""))]
    if not entries:
        return ""
    below = [msgspec.json.decode(base)] if base else []
    return text_of(merge_confs(kind, [*below, *(entry.conf for entry in entries)])[0])


def _is_for_route(ctx: Context, kind: str, entry: Entry, route: str) -> bool:
    meta, top = entry.source.meta, entry.top
    if top["kind"] == "MeshHTTPRoute":
        found = find_route(ctx, meta, top.get("name") or "")
        return found is not None and found.meta.kri == route
    if kind not in INHERITED or entry.target["kind"] != "MeshHTTPRoute":
        return False
    return any(each.kri == route for each in resolve(ctx, meta, entry.target))


def _text_of_rule(kind: str, rule: Rule, conf_index: int = 0) -> str:
    if kind == "MeshHTTPRoute":
        origins = {key: source.meta.kri for key, source in rule.by_matches.items()}
        return text_of({"confs": list(rule.confs), "origins": origins})
    conf = rule.confs[conf_index]
    if kind == "MeshTCPRoute":
        return text_of({"conf": conf, "origin": rule.origins[-1].meta.kri if rule.origins else ""})
    return text_of(conf)


def to_confs(
    ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]], destination: str, section: str
) -> KindConfs:
    """The confs of all kinds for one port of a destination."""
    found = ((kind, to_conf(ctx, kind, mesh, names, destination, section)) for kind, names in matched)
    return tuple((kind, text) for kind, text in found if text)


def mesh_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]]) -> KindConfs:
    """The confs of all kinds for what no policy mentions."""
    return to_confs(ctx, mesh, matched, kri("Mesh", "", "", "", mesh), "")


def all_to_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]], kind: str) -> KindConfs:
    """Each conf of one kind, for any destination, as (kind, text) pairs."""
    names = dict(matched).get(kind)
    if not names:
        return ()
    texts = {text_of(conf) for rule in to_rules(ctx, kind, mesh, names) for conf in rule.confs}
    texts |= {text_of(rule.conf) for rule in service_rules(ctx, kind, mesh, names)}
    return tuple((kind, text) for text in sorted(texts))


@derivation
def service_rules(ctx: Context, kind: str, mesh: str, names: Names) -> tuple[SubsetRule, ...]:
    """The `to` rules of some policies of one kind, for services known by tags; the first that fits is right."""
    return tuple(by_precedence(to_subset_rules(kind, expand_routes(ctx, _items(ctx, kind, mesh, names)))))


@derivation
def service_subsets(ctx: Context, kind: str, mesh: str, names: Names) -> tuple[Subset, ...]:
    """For which services there are rules; as `to_keys`."""
    return tuple(rule.subset for rule in service_rules(ctx, kind, mesh, names))


@derivation
def service_text(ctx: Context, kind: str, mesh: str, names: Names, position: int) -> str:
    """The conf of one of the `service_rules`."""
    found = service_rules(ctx, kind, mesh, names)[position]
    return _text_of_rule(kind, found.rule, found.conf_index)


@derivation
def service_conf(ctx: Context, kind: str, mesh: str, names: Names, service: str) -> str:
    """As `to_conf`, for a service known by tags."""
    element = (Tag(SERVICE_TAG, service),)
    for position, subset in enumerate(service_subsets(ctx, kind, mesh, names)):
        if contains(subset, element):
            return service_text(ctx, kind, mesh, names, position)
    return ""


def service_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]], service: str) -> KindConfs:
    """The confs of all kinds for a service known by tags."""
    found = ((kind, service_conf(ctx, kind, mesh, names, service)) for kind, names in matched)
    return tuple((kind, text) for kind, text in found if text)


# --- inbound and single --------------------------------------------------------------------------


@derivation
def from_rules(ctx: Context, kind: str, mesh: str, names: Names) -> InboundRules:
    """The inbound rules of some policies of one kind, all of which select one inbound."""
    return inbound_rules(kind, _items(ctx, kind, mesh, names))


@derivation
def inbound_conf(ctx: Context, kind: str, mesh: str, names: Names) -> str:
    """What a kind says of all traffic into one inbound; "" when nothing."""
    rule = from_rules(ctx, kind, mesh, names).catch_all()
    return "" if rule is None else text_of(rule.conf)


@derivation
def single_conf(ctx: Context, kind: str, mesh: str, names: Names) -> str:
    """The conf of a kind for a proxy as a whole; "" when none."""
    rule = single_rule(kind, _items(ctx, kind, mesh, names))
    return "" if rule is None else text_of(rule.conf)


def inbound_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]]) -> KindConfs:
    """The confs of all kinds for all traffic into one inbound."""
    found = ((kind, inbound_conf(ctx, kind, mesh, names)) for kind, names in matched)
    return tuple((kind, text) for kind, text in found if text)


@derivation
def permission_rules(ctx: Context, mesh: str, names: Names) -> str:
    """The permissions of one inbound as JSON: {"rules": [...]} by identity, or {"from": [...]} by tags.

    Policies that still use `from` count only where none uses `rules`.
    """
    items = _items(ctx, "MeshTrafficPermission", mesh, names)
    by_identity = [item for item in items if item.spec.get("rules")]
    if by_identity:
        rules = inbound_rules("MeshTrafficPermission", by_identity).rules
        return text_of({"rules": [{"kri": rule.source.meta.kri, "conf": rule.conf} for rule in rules]})
    found = by_precedence(from_subset_rules("MeshTrafficPermission", list(from_entries(items))))
    return text_of({"from": [_subset(rule) for rule in found]})


@derivation
def caller_rules(ctx: Context, kind: str, mesh: str, names: Names) -> str:
    """What a kind says of traffic into one inbound by who calls, as JSON: the first rule that fits a caller is
    its rule, one without a match is for everybody else; "" when nobody is told apart."""
    found = _ordered(from_rules(ctx, kind, mesh, names))
    return text_of({"rules": found}) if any("match" in rule for rule in found) else ""


def _ordered(rules: InboundRules) -> list[dict[str, Any]]:
    found = [
        {"kri": rule.origins[-1].meta.kri, "match": match, "conf": rule.conf}
        for match, rule in rules.matched()
    ]
    catch_all = rules.catch_all()
    if catch_all is not None:
        found.append({"kri": catch_all.origins[-1].meta.kri, "conf": catch_all.conf})
    return found


def confs_by_caller(ctx: Context, kind: str, mesh: str, names: Names) -> KindConfs:
    """Each conf of a kind that is for some callers only, as (kind, text) pairs."""
    text = caller_rules(ctx, kind, mesh, names)
    rules = msgspec.json.decode(text)["rules"] if text else ()
    return tuple((kind, text_of(rule["conf"])) for rule in rules)


@derivation
def fault_rules(ctx: Context, mesh: str, names: Names) -> str:
    """The faults of one inbound as JSON: {"rules": as `caller_rules`, "from": by tags}."""
    items = _items(ctx, "MeshFaultInjection", mesh, names)
    found = _ordered(from_rules(ctx, "MeshFaultInjection", mesh, names))
    by_tags = by_precedence(from_subset_rules("MeshFaultInjection", list(from_entries(items))))
    return text_of({"rules": found, "from": [_subset(rule) for rule in by_tags]})


@derivation
def faults_exist(ctx: Context, mesh: str) -> bool:
    """Whether any policy of a mesh (also in the shadow) injects faults: clients then tell their tags."""
    return bool(policies_of(ctx, "MeshFaultInjection", mesh))


def _subset(rule: SubsetRule) -> dict[str, Any]:
    tags = [{"key": tag.key, "value": tag.value, "not": tag.negated} for tag in rule.subset]
    return {"tags": tags, "conf": rule.conf}


def inbound_rules_by_client(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]]) -> KindConfs:
    """What depends on who calls, per kind, as JSON."""
    found: list[tuple[str, str]] = []
    for kind, names in matched:
        if kind == "MeshTrafficPermission":
            found.append((kind, permission_rules(ctx, mesh, names)))
        elif kind == "MeshFaultInjection":
            found.append((kind, fault_rules(ctx, mesh, names)))
        elif kind in BY_CALLER and (text := caller_rules(ctx, kind, mesh, names)):
            found.append((kind, text))
    return tuple(found)


@derivation
def sni_conf(ctx: Context, kind: str, mesh: str, names: Names, sni: str) -> str:
    """What a kind says of traffic into a listener that asks for one server name; "" when nothing."""
    rules = from_rules(ctx, kind, mesh, names)
    for match, rule in rules.matched():
        asked = match.get("sni")
        if asked is not None and asked.get("value") == sni and match.get("spiffeID") is None:
            return text_of(rule.conf)
    return inbound_conf(ctx, kind, mesh, names)


def sni_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]], sni: str) -> KindConfs:
    """The confs of all kinds for traffic into a listener that asks for one server name."""
    found = ((kind, sni_conf(ctx, kind, mesh, names, sni)) for kind, names in matched)
    return tuple((kind, text) for kind, text in found if text)


@derivation
def sni_rules(ctx: Context, kind: str, mesh: str, names: Names, sni: str) -> str:
    """As `caller_rules`, also when nobody is told apart, of traffic that asks for one server name."""
    found = []
    for rule in _ordered(from_rules(ctx, kind, mesh, names)):
        match = dict(rule.pop("match", {}))
        asked = match.pop("sni", None)
        if asked is not None and asked.get("value") != sni:
            continue
        found.append(rule | {"match": match} if match else rule)
        if not match:
            break
    return text_of({"rules": found}) if found else ""


def sni_rules_by_client(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]], sni: str) -> KindConfs:
    """As `inbound_rules_by_client`, of traffic into a listener that asks for one server name."""
    kinds = BY_CALLER | {"MeshFaultInjection"}
    found = ((kind, sni_rules(ctx, kind, mesh, names, sni)) for kind, names in matched if kind in kinds)
    return tuple((kind, text) for kind, text in found if text)


def single_confs(ctx: Context, mesh: str, matched: Iterable[tuple[str, Names]]) -> KindConfs:
    """The confs of all kinds that configure a proxy as a whole."""
    found = ((kind, single_conf(ctx, kind, mesh, names)) for kind, names in matched)
    return tuple((kind, text) for kind, text in found if text)
