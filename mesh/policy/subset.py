"""Rules by tags of the other side: `from` selectors, and `to` selectors of old service names.

Each selector is a set of tags, and selectors may overlap (`version: v1` and `env: prod`).  Envoy wants
disjoint alternatives.  So selectors are grouped: those that overlap pairwise form one group (a maximal
clique), since a client can only be selected by all of them when no two contradict each other.  Within a
group each combination of "has the tag" and "has it not" is one alternative, with the confs of all selectors
that contain it merged.  Alternatives that no selector contains are dropped.

Taking cliques instead of connected components keeps unrelated selectors apart: twenty services that are
selected next to the whole mesh are twenty groups of two alternatives, not one group of a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from mesh.policy.limits import SUBSET_TAGS_MAX
from mesh.policy.merge import hash_matches
from mesh.policy.order import sort_services
from mesh.policy.outbound import Rule, merge_entries, outbound_entries
from mesh.policy.targetref import find_route
from mesh.policy.values import Entry, Item, Source, TargetRef, elements, target_of
from mesh.reader import Reader
from mesh.resource import SERVICE_TAG

MATCHES_TAG = "__rule-matches-hash__"
"""Pseudo tag under which a policy for a route keeps the hash of the route's matches."""


class TooManySubsets(ValueError):
    """The `from` selectors of a proxy overlap in more tags than can be combined."""


@dataclass(frozen=True, order=True)
class Tag:
    key: str
    value: str
    negated: bool = False


Subset = tuple[Tag, ...]


@dataclass(frozen=True, eq=False)
class SubsetRule:
    """The merged conf for clients (or destinations) whose tags are in `subset`."""

    subset: Subset
    rule: Rule
    conf_index: int = 0

    @property
    def conf(self) -> Mapping[str, object]:
        return self.rule.confs[self.conf_index]


def from_subset_rules(kind: str, entries: Sequence[Entry]) -> list[SubsetRule]:
    """Rules of `from` elements, in the order of their policies and lists, most positive tags first.

    Raises TooManySubsets, which names the policies, when the combinations would not be bounded.
    """
    return _with_negations(kind, entries) if entries else []


def to_subset_rules(kind: str, entries: Sequence[Entry]) -> list[SubsetRule]:
    """Rules of `to` elements by service name, the elements as in `from_subset_rules`.

    Of equally important policies the one for the service wins over the one for the mesh, whatever their names.
    Negations appear when several tag keys are involved.
    """
    entries = sort_services(entry for entry in entries if entry.target["kind"] in _SUBSET_KINDS)
    subsets = list(dict.fromkeys(subset_of(entry.target) for entry in entries))
    if len({tag.key for subset in subsets for tag in subset}) > 1:
        return _with_negations(kind, entries)
    rules = [rule for subset in subsets for rule in _rules_for(kind, subset, entries)]
    return sorted(rules, key=lambda rule: -len(rule.subset))


def by_precedence(rules: Sequence[SubsetRule]) -> list[SubsetRule]:
    """The rules in the order in which the first one that a client is in is the right one.

    The listed order (most positive tags first) is what people know, but a client can be in alternatives of
    several groups.  The right one is that of the group with all selectors that the client is in; it has more
    contributors than the others.
    """
    return sorted(rules, key=lambda rule: -len(rule.rule.entries))


_SUBSET_KINDS = frozenset({"Mesh", "MeshSubset", "MeshService", "MeshServiceSubset"})


def subset_of(target: TargetRef) -> Subset:
    """The tags that a targetRef of an old kind stands for."""
    tags = {Tag(key, value) for key, value in (target.get("tags") or {}).items()}
    if target["kind"] in ("MeshService", "MeshServiceSubset"):
        tags.add(Tag(SERVICE_TAG, target.get("name") or ""))
    return tuple(sorted(tags))


def expand_routes(reader: Reader, policies: Sequence[Item]) -> list[Entry]:
    """`to` elements, where a policy for a MeshHTTPRoute has one element per rule of that route."""
    entries: list[Entry] = []
    for policy in policies:
        top = target_of(policy)
        if top["kind"] != "MeshHTTPRoute":
            entries.extend(outbound_entries([policy]))
            continue
        route = find_route(reader, policy.meta, top.get("name") or "")
        targets = _route_targets(route) if route is not None else []
        own = list(outbound_entries([policy]))
        entries.extend(Entry(e.source, e.top, target, e.conf) for target in targets for e in own)
    return entries


def _route_targets(route: Item) -> list[TargetRef]:
    targets: list[TargetRef] = []
    for element in elements(route, "to"):
        destination = element["targetRef"]
        for rule in element.get("rules") or ():
            tags = {MATCHES_TAG: hash_matches(rule.get("matches") or [])}
            if destination["kind"] in ("Mesh", "MeshSubset"):
                targets.append({"kind": "MeshSubset", "tags": tags})
            else:
                targets.append({"kind": "MeshServiceSubset", "name": destination.get("name"), "tags": tags})
    return targets


def _with_negations(kind: str, entries: Sequence[Entry]) -> list[SubsetRule]:
    subsets = [subset_of(entry.target) for entry in entries]
    rules: list[SubsetRule] = []
    for clique in _cliques(subsets):
        tags = sorted({tag for index in clique for tag in subsets[index]})
        if len(tags) > SUBSET_TAGS_MAX:
            names = sorted({entries[index].source.meta.name for index in clique})
            raise TooManySubsets(
                f"{kind} {', '.join(names)}: 'from' selectors overlap in {len(tags)} tags, "
                f"at most {SUBSET_TAGS_MAX} can be combined; use 'rules' instead"
            )
        for alternative in _alternatives(tags):
            rules.extend(_rules_for(kind, alternative, entries))
    return sorted(rules, key=lambda rule: -sum(not tag.negated for tag in rule.subset))


def _alternatives(tags: Sequence[Tag]) -> Iterator[Subset]:
    """Each combination of a clique's tags and their negations, all positive last.

    The first tag changes fastest.  No two tags of a clique share a key, so none contradict each other.
    """
    combinations = list(product((False, True), repeat=len(tags)))
    for flags in combinations[1:] + combinations[:1]:
        yield tuple(Tag(tag.key, tag.value, flag) for tag, flag in zip(tags, reversed(flags), strict=True))


def _rules_for(kind: str, subset: Subset, entries: Sequence[Entry]) -> Iterator[SubsetRule]:
    relevant = [entry for entry in entries if contains(subset_of(entry.target), subset)]
    if not relevant:
        return
    rule = merge_entries(kind, _without_index(relevant))
    for index in range(len(rule.confs)):
        yield SubsetRule(subset, rule, index)


def _without_index(entries: Sequence[Entry]) -> list[Entry]:
    """Subset rules name policies as their origin, not elements of policies."""
    return [Entry(Source(entry.source.meta), entry.top, entry.target, entry.conf) for entry in entries]


def contains(outer: Subset, inner: Subset) -> bool:
    """Whether all that is in `inner` is in `outer`.  The empty subset contains everything."""
    return all(
        any(tag.key == other.key for other in inner)
        and all(_tag_contains(tag, other) for other in inner if other.key == tag.key)
        for tag in outer
    )


def _tag_contains(outer: Tag, inner: Tag) -> bool:
    if outer.negated == inner.negated:
        return outer.value == inner.value
    return outer.negated and outer.value != inner.value


def overlap(one: Subset, other: Subset) -> bool:
    """Whether some set of tags is in both."""
    values = {tag.key: tag.value for tag in one}
    return all(values.get(tag.key, tag.value) == tag.value for tag in other)


def _cliques(subsets: Sequence[Subset]) -> list[list[int]]:
    """Maximal groups of pairwise overlapping subsets (Bron and Kerbosch with pivoting), last ones first."""
    count = len(subsets)
    neighbours = [
        {j for j in range(count) if i != j and overlap(subsets[i], subsets[j])} for i in range(count)
    ]
    found: list[list[int]] = []

    def extend(clique: list[int], candidates: set[int], excluded: set[int]) -> None:
        if not candidates and not excluded:
            found.append(sorted(clique))
            return
        pivot = max(candidates | excluded, key=lambda node: len(neighbours[node] & candidates))
        for node in sorted(candidates - neighbours[pivot]):
            extend([*clique, node], candidates & neighbours[node], excluded & neighbours[node])
            candidates.discard(node)
            excluded.add(node)

    extend([], set(range(count)), set())
    return sorted(found, reverse=True)
