"""MeshTrafficPermission: who may talk to an inbound, as Envoy's RBAC.

Only chains that check certificates can tell who talks, so only those are guarded. Without any
permission nobody may. Two spellings exist: `from` selects clients by tags (shown in the certificates
of the mesh's own authority), `rules` by identity, where any denial comes before all permissions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mesh.resource import SERVICE_TAG
from xds.config import hcm
from xds.config.draft import Draft, named, stat_name

if TYPE_CHECKING:
    from xds.config.inbound import Inbound
    from xds.config.zoneproxy import Chain, ZoneListener

KIND = "MeshTrafficPermission"
NETWORK_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"
NETWORK_FILTER = "envoy.filters.network.rbac"
HTTP_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
HTTP_FILTER = "envoy.filters.http.rbac"
ACTION = "envoy.config.rbac.v3.Action"
URI_SAN = "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput"
SERVER_NAME = "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput"

Json = Mapping[str, Any]


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Guard every chain that knows its clients."""
    if inbound.security is None:
        return
    fields = guard(dict(inbound.rules).get(KIND, ""), inbound.mesh, spiffe=inbound.security.spiffe)
    for chain in draft["filter_chains"]:
        if "transport_socket" in chain:
            _guard_chain(chain, fields, draft["name"])


def _guard_chain(chain: Draft, fields: Draft, listener: str) -> None:
    managers = [found for found in chain["filters"] if found["name"] == hcm.HCM_FILTER]
    for manager in managers:
        hcm.prepend_http_filter(manager["typed_config"], named(HTTP_FILTER, HTTP_RBAC, fields))
    if not managers:
        prefix = {"stat_prefix": stat_name(listener) + "."}
        chain["filters"].insert(0, named(NETWORK_FILTER, NETWORK_RBAC, fields | prefix))


def edit_zone_chain(draft: Draft, chain: Chain, value: ZoneListener) -> None:
    """Guard the way out: who may reach an external service."""
    fields = guard(chain.permissions, value.mesh, spiffe=True)
    _guard_chain(draft, fields, value.name)


def guard(text: str, mesh: str, *, spiffe: bool) -> Draft:
    """The fields of an RBAC filter. text: JSON of the permissions, "" when there are none."""
    found: Json = msgspec.json.decode(text) if text else {}
    if "rules" in found:
        return by_identity(found["rules"], "" if spiffe else mesh)
    if not found and spiffe:
        return by_identity(())
    return by_tags(found.get("from") or (), mesh)


# --- by tags -------------------------------------------------------------------------------------


def by_tags(rules: Iterable[Json], mesh: str) -> Draft:
    """RBAC from `from`: the rules come with the one that counts first, and are disjoint by then."""
    allowed: list[Draft] = []
    shadow_denied: list[Draft] = []
    for rule in rules:
        action = rule["conf"].get("action", "Deny")
        if action != "Deny":
            allowed.append(_principal(rule["tags"], mesh))
        if action == "AllowWithShadowDeny":
            shadow_denied.append(_principal(rule["tags"], mesh))
    fields: Draft = {"rules": _policies(allowed)}
    if shadow_denied:
        fields["shadow_rules"] = {"action": "DENY"} | _policies(shadow_denied)
    return fields


def _policies(principals: list[Draft]) -> Draft:
    if not principals:
        return {}
    return {"policies": {KIND: {"permissions": [{"any": True}], "principals": principals}}}


def _principal(tags: Sequence[Json], mesh: str) -> Draft:
    found = [_tag_principal(tag, mesh) for tag in tags]
    if not found:
        return {"any": True}
    return found[0] if len(found) == 1 else {"and_ids": {"ids": found}}


def _tag_principal(tag: Json, mesh: str) -> Draft:
    """Certificates show a service as spiffe://<mesh>/<service>, other tags as kuma://<tag>/<value>."""
    key, value = tag["key"], tag["value"]
    name = f"spiffe://{mesh}/{value}" if key == SERVICE_TAG else f"kuma://{key}/{value}"
    principal: Draft = {"authenticated": {"principal_name": {"exact": name}}}
    return {"not_id": principal} if tag.get("not") else principal


# --- by identity ---------------------------------------------------------------------------------


def by_identity(rules: Sequence[Json], mesh: str = "") -> Draft:
    """RBAC from `rules`: all denials, then all permissions, then denial. mesh: see `predicate`."""
    denied = [
        _matcher(rule["kri"], matches, "DENY", mesh)
        for rule in rules
        if (matches := rule["conf"].get("deny"))
    ]
    allowed = [
        _matcher(rule["kri"], matches, "ALLOW", mesh) for rule in rules if (matches := _allowed(rule["conf"]))
    ]
    shadow = [
        _matcher(rule["kri"], matches, "DENY", mesh)
        for rule in rules
        if (matches := rule["conf"].get("allowWithShadowDeny"))
    ]
    fields: Draft = {"matcher": _tree([*denied, *allowed])}
    if shadow:
        fields["shadow_matcher"] = _tree(shadow)
    return fields


def _allowed(conf: Json) -> list[Json]:
    return [*(conf.get("allow") or ()), *(conf.get("allowWithShadowDeny") or ())]


def _tree(matchers: list[Draft]) -> Draft:
    tree: Draft = {"on_no_match": {"action": _action("default", "DENY")}}
    return tree | {"matcher_list": {"matchers": matchers}} if matchers else tree


def _action(name: str, action: str) -> Draft:
    return named("envoy.filters.rbac.action", ACTION, {"name": name, "action": action})


def _matcher(kri: str, matches: Sequence[Json], action: str, mesh: str) -> Draft:
    predicates = [predicate(match, mesh) for match in matches]
    combined = predicates[0] if len(predicates) == 1 else {"or_matcher": {"predicate": predicates}}
    return {"predicate": combined, "on_match": {"action": _action(kri, action)}}


def predicate(match: Json, mesh: str = "") -> Draft:
    """A condition on who calls (`spiffeID`) and what it asked for (`sni`).

    mesh: set where certificates are of the mesh's own authority. They show tags next to identities, and
    Envoy matches the text of all of them, with commas in between.
    """
    found = []
    if spiffe := match.get("spiffeID"):
        prefix, value = spiffe["type"] == "Prefix", spiffe["value"]
        text: Draft = {"prefix" if prefix else "exact": value}
        if mesh and value.startswith(f"spiffe://{mesh}/"):
            rest = ".*" if prefix else "(,.*)?"
            text = {"safe_regex": {"google_re2": {}, "regex": f"(.*,)?{re.escape(value)}{rest}"}}
        found.append(_single("envoy.matching.inputs.uri_san", URI_SAN, text))
    if sni := match.get("sni"):
        found.append(_single("envoy.matching.inputs.server_name", SERVER_NAME, {"exact": sni["value"]}))
    return found[0] if len(found) == 1 else {"and_matcher": {"predicate": found}}


def _single(name: str, input_type: str, value: Draft) -> Draft:
    return {"single_predicate": {"input": named(name, input_type), "value_match": value}}
