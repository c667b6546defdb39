"""The policies of a proxy by where they apply, as text: what `raftmesh inspect dataplane NAME` prints of `_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def policies_text(rules: Document) -> str:
    """The policies of a proxy by where they apply: to all of it, to an inbound, to a destination."""
    places: dict[str, dict[str, list[str]]] = {}
    for rule in rules["rules"]:
        for place, origins in _places(rule):
            names = places.setdefault(place, {}).setdefault(rule["type"], [])
            names += [name for name in map(_origin_name, origins) if name not in names]
    return "\n".join(
        f"{place}:\n"
        + "".join(f"  {kind}\n" + "".join(f"    {name}\n" for name in names) for kind, names in kinds.items())
        for place, kinds in places.items()
    )


def _places(rule: Document) -> Iterator[tuple[str, Sequence[Document]]]:
    if proxy := rule.get("proxyRule"):
        yield "DATAPLANE", proxy["origin"]
    for field in ("inboundRules", "fromRules"):
        for inbound in rule.get(field) or ():
            service = (inbound["inbound"].get("tags") or {}).get("kuma.io/service", "")
            for each in inbound["rules"]:
                yield f"INBOUND {inbound['inbound']['port']}({service})", each["origin"]
    for each in rule.get("toResourceRules") or ():
        meta, section = each["resourceMeta"], each.get("resourceSectionName") or ""
        yield f"OUTBOUND {meta['type']} {meta['name']}{':' if section else ''}{section}", each["origin"]
    for each in rule.get("toRules") or ():
        matchers = [f"{'!' if m['not'] else ''}{m['key']}={m['value']}" for m in each["matchers"]]
        yield f"OUTBOUND {', '.join(matchers) or '*'}", each["origin"]


def _origin_name(origin: Document) -> str:
    return str(origin.get("resourceMeta", origin)["name"])
