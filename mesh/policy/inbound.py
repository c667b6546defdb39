"""Inbound rules: what policies say about traffic that enters one endpoint.

Rules without a match are for all traffic; together they are merged into the endpoint's conf.  Rules with
matches are for the requests of one client identity or server name; each is kept apart and the first that
matches wins, most precise first.

Five kinds read their `from` lists (which can only name the mesh) as rules without matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.policy.merge import merge_confs
from mesh.policy.order import sort_inbound
from mesh.policy.outbound import Rule, element_conf, merge_entries
from mesh.policy.values import MESH, Conf, Entry, Item, Source, elements, target_of

FROM_AS_RULES = frozenset({"MeshAccessLog", "MeshCircuitBreaker", "MeshRateLimit", "MeshTLS", "MeshTimeout"})
"""Kinds whose `from` is another spelling of `rules`."""

Match = Mapping[str, Any]
"""`{spiffeID?: {type, value}, sni?: {type, value}}`."""


@dataclass(frozen=True, eq=False)
class InboundRule:
    """One rule as its policy wrote it: `match` is None when it is for all traffic."""

    match: Match | None
    conf: Conf
    source: Source
    entry: Entry


@dataclass(frozen=True, eq=False)
class InboundRules:
    """All inbound rules of one kind for one endpoint, least important first."""

    kind: str
    rules: tuple[InboundRule, ...]

    def catch_all(self) -> Rule | None:
        """The conf for all traffic, merged; None when no rule is for all traffic."""
        entries = [rule.entry for rule in self.rules if rule.match is None]
        return merge_entries(self.kind, entries) if entries else None

    def matched(self) -> list[tuple[Match, Rule]]:
        """Rules with a match, in the order in which they are to be tried, merged over the catch-all.

        Rules with equal matches are one; the policy order decides inside it.
        """
        base = [rule.entry for rule in self.rules if rule.match is None]
        groups: dict[str, list[InboundRule]] = {}
        for rule in self.rules:
            if rule.match is not None:
                groups.setdefault(repr(match_rank(rule.match)), []).append(rule)
        ordered = sorted(groups.values(), key=lambda group: match_rank(group[0].match or {}))
        return [
            (group[0].match or {}, merge_entries(self.kind, [*base, *(rule.entry for rule in group)]))
            for group in ordered
        ]

    def merged(self) -> Conf:
        """All confs merged in order, whatever they match; for kinds that keep lists of matches inside."""
        confs = merge_confs(self.kind, [rule.conf for rule in self.rules])
        return confs[0] if confs else {}

    def origins(self) -> tuple[Source, ...]:
        return tuple(dict.fromkeys(rule.source for rule in self.rules))

    def __bool__(self) -> bool:
        return bool(self.rules)


_MATCH_TYPES = {"Exact": 0, "Prefix": 1}


def match_rank(match: Match) -> tuple[Any, ...]:
    """Sort key of matches: exact identities, then the longest prefixes, then none; a server name before none."""
    spiffe, sni = match.get("spiffeID"), match.get("sni")
    identity = (2, 0, "") if spiffe is None else _spiffe_rank(spiffe)
    return (*identity, (1, "") if sni is None else (0, sni.get("value", "")))


def _spiffe_rank(spiffe: Mapping[str, str]) -> tuple[int, int, str]:
    value = spiffe.get("value", "")
    return (_MATCH_TYPES.get(spiffe.get("type", ""), 1), -len(value), value)


def inbound_rules(kind: str, policies: Sequence[Item]) -> InboundRules:
    """Inbound rules of the given policies of one kind, all of which select the endpoint."""
    return InboundRules(kind, tuple(_rules(sort_inbound(_entries(kind, policies)))))


def _entries(kind: str, policies: Sequence[Item]) -> Iterator[Entry]:
    for policy in policies:
        for index, element in enumerate(elements(policy, _field(kind, policy))):
            conf = element_conf(kind, element)
            yield Entry(Source(policy.meta, index), target_of(policy), element, conf)


def _field(kind: str, policy: Item) -> str:
    return "rules" if policy.spec.get("rules") or kind not in FROM_AS_RULES else "from"


def _rules(entries: Sequence[Entry]) -> Iterator[InboundRule]:
    for entry in entries:
        matches: Sequence[Match] = entry.target.get("matches") or ()
        for match in matches or (None,):
            yield InboundRule(match, entry.conf, entry.source, entry)


def from_entries(policies: Sequence[Item]) -> Iterator[Entry]:
    """The `from` elements of policies, in order of the policies and of their lists."""
    for policy in policies:
        for index, element in enumerate(elements(policy, "from")):
            conf = element_conf(policy.meta.kind, element)
            yield Entry(Source(policy.meta, index), target_of(policy), element.get("targetRef") or MESH, conf)
