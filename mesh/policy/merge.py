"""Many confs into one: JSON merge patch (RFC 7396), with the two exceptions that policies need.

* A field named `append…` collects: its list is the concatenation over all confs, in order.
* Confs of MeshHTTPRoute are lists of routes.  Two confs meet only when they are for the same hostnames;
  there, rules with equal `matches` are one rule whose `default` is merged, and rules of a more important
  conf stand before those of a less important one (where matches tie, Envoy takes the first).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mesh.policy.values import Conf


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply one RFC 7396 patch.  Neither argument is changed; unchanged parts are shared."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif _collects(key) and isinstance(value, list) and isinstance(result.get(key), list):
            result[key] = result[key] + value
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _collects(key: str) -> bool:
    return key.startswith("append") and key[6:7].isupper()


def merge_confs(kind: str, confs: Sequence[Conf]) -> list[Conf]:
    """Merge confs, least important first.  One conf results, but for MeshHTTPRoute one per hostname set."""
    if not confs:
        return []
    if kind == "MeshHTTPRoute":
        return _merge_routes(confs)
    merged: Any = {}
    for conf in confs:
        merged = merge_patch(merged, conf)
    return [merged]


def _merge_routes(confs: Sequence[Conf]) -> list[Conf]:
    groups: dict[tuple[str, ...], list[Conf]] = {}
    for conf in confs:
        groups.setdefault(tuple(conf.get("hostnames") or ()), []).append(conf)
    result = []
    for hostnames, members in groups.items():
        conf = {"rules": _merge_route_rules([member.get("rules") or [] for member in members])}
        result.append(conf | {"hostnames": list(hostnames)} if hostnames else conf)
    return result


def _merge_route_rules(lists: Sequence[Sequence[Mapping[str, Any]]]) -> list[Conf]:
    defaults: dict[str, Any] = {}
    for rules in lists:
        for rule in rules:
            match_key = hash_matches(rule.get("matches") or [])
            defaults[match_key] = merge_patch(defaults.get(match_key, {}), rule.get("default") or {})
    result: dict[str, Conf] = {}
    for rules in reversed(lists):
        for rule in rules:
            match_key = hash_matches(rule.get("matches") or [])
            if match_key not in result:
                result[match_key] = {
                    "matches": list(rule.get("matches") or []),
                    "default": defaults[match_key],
                }
    return list(result.values())


_MATCH_FIELDS = {
    "match": ("path", "method", "queryParams", "headers"),
    "path": ("value", "type"),
    "queryParams": ("type", "name", "value"),
    "headers": ("type", "name", "value"),
}


def hash_matches(matches: Sequence[Mapping[str, Any]]) -> str:
    """Name a list of route matches: base64 of SHA-256 over its JSON in declaration order.

    The name is visible (`httpMatches` of the rules API), so the field order is fixed here.
    """
    canonical = [_canonical_match(match) for match in matches]
    return base64.b64encode(hashlib.sha256(msgspec.json.encode(canonical)).digest()).decode()


def _canonical_match(match: Mapping[str, Any]) -> Conf:
    result: Conf = {}
    for name in _MATCH_FIELDS["match"]:
        value = match.get(name)
        if value is None:
            continue
        if isinstance(value, Mapping):
            value = _ordered(value, _MATCH_FIELDS[name])
        elif isinstance(value, list):
            value = [_ordered(element, _MATCH_FIELDS[name]) for element in value]
        result[name] = value
    return result


def _ordered(value: Mapping[str, Any], names: Sequence[str]) -> Conf:
    return {name: value[name] for name in names if name in value}
