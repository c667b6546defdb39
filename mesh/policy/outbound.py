"""Rules of `to`: for each destination that a policy points to, one merged conf.

The map holds rules only for what policies mention, not for each destination there is: a rule of the mesh is
one rule, and the lookup falls back from section to resource to mesh.  Each rule is already merged over its
less specific parents, so a lookup is at most three dictionary reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.policy.destination import Destination, resolve
from mesh.policy.merge import hash_matches, merge_confs
from mesh.policy.meta import kri, with_section
from mesh.policy.order import sort_outbound
from mesh.policy.values import Conf, Entry, Item, Source, elements, target_of
from mesh.reader import Reader


@dataclass(frozen=True, eq=False)
class Rule:
    """Merged conf for one destination.

    `confs` has one element, but for MeshHTTPRoute one per set of hostnames.  `origins` are the contributing
    elements, least important first.  `by_matches` tells for each merged route (by the hash of its matches)
    the most important policy that wrote it.
    """

    confs: tuple[Conf, ...]
    origins: tuple[Source, ...]
    entries: tuple[Entry, ...] = ()
    by_matches: Mapping[str, Source] = field(default_factory=dict)

    @property
    def conf(self) -> Conf:
        """The only conf of the rule."""
        return self.confs[0]


@dataclass(frozen=True, eq=False)
class ResourceRule(Rule):
    """A rule for one destination."""

    destination: Destination = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class OutboundRules:
    """All `to` rules of one kind, by the KRI of the destination (with its section, if any)."""

    kind: str
    mesh: str
    rules: Mapping[str, ResourceRule]

    def conf_for(self, destination: str, section: str = "") -> ResourceRule | None:
        """The rule for a destination KRI: of its section, else of the resource, else of the mesh."""
        keys = lookup_keys(self.mesh, destination, section)
        return next((self.rules[key] for key in keys if key in self.rules), None)

    def conf_for_route(self, route: str, destination: str, section: str = "") -> ResourceRule | None:
        """The rule for a MeshHTTPRoute KRI, else the one for the destination it routes."""
        return self.rules.get(with_section(route, "")) or self.conf_for(destination, section)

    def for_mesh(self) -> ResourceRule | None:
        """The rule that applies to destinations which no policy mentions."""
        return self.rules.get(kri("Mesh", "", "", "", self.mesh))

    def __iter__(self) -> Iterator[ResourceRule]:
        return iter(self.rules.values())

    def __bool__(self) -> bool:
        return bool(self.rules)


def lookup_keys(mesh: str, destination: str, section: str = "") -> Iterator[str]:
    """Under which keys the rule for a destination may be, most precise first."""
    if section:
        yield with_section(destination, section)
    yield with_section(destination, "")
    yield kri("Mesh", "", "", "", mesh)


def outbound_rules(reader: Reader, kind: str, mesh: str, policies: Sequence[Item]) -> OutboundRules:
    """Merge the `to` lists of the given policies of one kind (least important first)."""
    whole_mesh: list[tuple[int, Entry]] = []
    by_resource: dict[str, list[tuple[int, Entry, str]]] = {}
    destinations: dict[str, Destination] = {}
    for position, entry in enumerate(sort_outbound(outbound_entries(policies))):
        if entry.top["kind"] == "MeshHTTPRoute":
            continue
        for found in resolve(reader, entry.source.meta, entry.target):
            destinations[found.kri] = found
            if found.meta.kind == "Mesh":
                whole_mesh.append((position, entry))
            else:
                by_resource.setdefault(found.meta.kri, []).append((position, entry, found.section))
    rules = {}
    for identifier in sorted(destinations):
        destination = destinations[identifier]
        own = by_resource.get(destination.meta.kri, ())
        relevant = dict(whole_mesh)
        relevant.update((at, entry) for at, entry, section in own if section in ("", destination.section))
        rules[identifier] = _resource_rule(kind, destination, [relevant[at] for at in sorted(relevant)])
    return OutboundRules(kind, mesh, rules)


def _resource_rule(kind: str, destination: Destination, entries: Sequence[Entry]) -> ResourceRule:
    rule = merge_entries(kind, entries)
    return ResourceRule(rule.confs, rule.origins, rule.entries, rule.by_matches, destination=destination)


def merge_entries(kind: str, entries: Sequence[Entry]) -> Rule:
    """Merge sorted elements into one rule that knows where it comes from."""
    confs = merge_confs(kind, [entry.conf for entry in entries])
    origins = tuple(dict.fromkeys(entry.source for entry in entries))
    by_matches: dict[str, Source] = {}
    if kind == "MeshHTTPRoute":
        for entry in entries:
            for rule in entry.conf["rules"]:
                by_matches[hash_matches(rule.get("matches") or [])] = entry.source
    return Rule(tuple(confs), origins, tuple(entries), by_matches)


def outbound_entries(policies: Sequence[Item]) -> Iterator[Entry]:
    """The `to` elements of policies, in order of the policies and of their lists."""
    for policy in policies:
        for index, element in enumerate(elements(policy, "to")):
            conf = element_conf(policy.meta.kind, element)
            yield Entry(Source(policy.meta, index), target_of(policy), element["targetRef"], conf)


def element_conf(kind: str, element: Mapping[str, object]) -> Conf:
    """What one list element configures.  Routes have rules in the place of a default."""
    if kind == "MeshHTTPRoute":
        conf: Conf = {"rules": element.get("rules") or []}
        hostnames = element.get("hostnames")
        return conf | {"hostnames": hostnames} if hostnames else conf
    if kind == "MeshTCPRoute":
        rules = element.get("rules") or [{}]
        return dict(rules[0])  # type: ignore[index]
    return dict(element.get("default") or {})  # type: ignore[call-overload,no-any-return]
