"""Rules for some callers only: `matches` of inbound `rules`, by identity and by the server name asked for.

The rules of a kind come in the order in which they are tried; the first that fits a caller is its rule.
Three things in Envoy can depend on it:

* whether an HTTP filter runs: it sits in a matcher that skips it for others;
* which route a request takes: a script notes in the request's metadata which rule of each kind is its, and
  chooses the route again;
* whether a log is written: by the same note, or, for bytes, by an expression on the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mesh.policy.typed import CONF_TYPES
from xds.config import hcm
from xds.config.confs import KindConfs
from xds.config.draft import Draft, named
from xds.config.policies.permission import predicate

WITH_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
LUA = "envoy.extensions.filters.http.lua.v3.Lua"
LUA_FILTER = "envoy.filters.http.lua"
CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
CEL_FILTER = "envoy.access_loggers.extension_filters.cel"
NAMESPACE = "kuma.callers"

Json = Mapping[str, Any]


class Rule(NamedTuple):
    """What holds for the callers that match (None: for all) and no earlier match takes.

    key: the rule's place, as metadata tells it. kri: of the policy. conf: as JSON.
    """

    key: str
    kri: str
    match: Json | None
    earlier: tuple[Json, ...]
    conf: Json

    def typed(self, kind: str) -> Any:
        """The conf as an instance of the kind's type."""
        return msgspec.convert(self.conf, CONF_TYPES[kind])


def rules_of(kind: str, texts: KindConfs) -> list[Rule]:
    """The rules of a kind in their order; none when it does not tell callers apart."""
    text = dict(texts).get(kind, "")
    found: list[Rule] = []
    earlier: list[Json] = []
    for rule in (msgspec.json.decode(text) if text else {}).get("rules") or ():
        match = rule.get("match")
        taken = tuple(other for other in earlier if match is None or _overlap(other, match))
        found.append(Rule(str(len(found)), rule["kri"], match, taken, rule["conf"]))
        if match is not None:
            earlier.append(match)
    return found


def _overlap(one: Json, other: Json) -> bool:
    """Whether some caller is in both."""
    first, second = one.get("spiffeID"), other.get("spiffeID")
    asked = {name["value"] for match in (one, other) if (name := match.get("sni"))}
    return len(asked) < 2 and (first is None or second is None or _ids_overlap(first, second))


def _ids_overlap(one: Json, other: Json) -> bool:
    return _covers(one, other) or _covers(other, one)


def _covers(one: Json, other: Json) -> bool:
    if one["type"] == "Prefix":
        return bool(other["value"].startswith(one["value"]))
    return one == other


# --- filters -------------------------------------------------------------------------------------


def only_for(rule: Rule, name: str, type_name: str, fields: Draft, mesh: str) -> Draft:
    """An HTTP filter that runs for the callers of one rule. mesh: see `permission.predicate`."""
    skipped = [] if rule.match is None else [{"not_matcher": predicate(rule.match, mesh)}]
    skipped += [predicate(match, mesh) for match in rule.earlier]
    if not skipped:
        return named(rule.kri, type_name, fields)
    matchers = [{"predicate": who, "on_match": {"action": named("skip", SKIP)}} for who in skipped]
    wrapped = {
        "extension_config": named(name, type_name, fields),
        "xds_matcher": {"matcher_list": {"matchers": matchers}},
    }
    return named(rule.kri, WITH_MATCHER, wrapped)


# --- metadata ------------------------------------------------------------------------------------

_SCRIPT = """\
local rules = {RULES}
local function is(id, match)
  if match.prefix then return id:sub(1, #match.id) == match.id end
  return id == match.id
end
local function fits(match, ids, sni)
  if match.sni and match.sni ~= sni then return false end
  if not match.id then return true end
  for _, id in ipairs(ids) do
    if is(id, match) then return true end
  end
  return false
end
function envoy_on_request(handle)
  local info = handle:streamInfo()
  local tls = info:downstreamSslConnection()
  local ids, sni = tls and tls:uriSanPeerCertificate() or {}, info:requestedServerName()
  local found = false
  for kind, matches in pairs(rules) do
    for _, match in ipairs(matches) do
      if fits(match, ids, sni) then
        info:dynamicMetadata():set("NAMESPACE", kind, match.key)
        found = true
        break
      end
    end
  end
  if found then handle:clearRouteCache() end
end
"""


def note_callers(managers: Iterable[Draft], texts: KindConfs, kinds: Sequence[str]) -> None:
    """Let HTTP connection managers note which rule of each of the kinds is a request's, before all else."""
    rules = {kind: [rule for rule in rules_of(kind, texts) if rule.match is not None] for kind in kinds}
    table = ", ".join(f"{kind} = {{{_matches(found)}}}" for kind, found in rules.items() if found)
    if not table:
        return
    code = _SCRIPT.replace("{RULES}", f"{{{table}}}").replace("NAMESPACE", NAMESPACE)
    for manager in managers:
        fields = {"default_source_code": {"inline_string": code}}
        hcm.prepend_http_filter(manager, named(LUA_FILTER, LUA, fields))


def _matches(rules: Iterable[Rule]) -> str:
    return ", ".join(f"{{{', '.join(_lua(rule))}}}" for rule in rules)


def _lua(rule: Rule) -> Iterator[str]:
    """The fields of a table in Lua, whose texts are quoted as JSON's."""
    yield f"key = {json.dumps(rule.key)}"
    match = rule.match or {}
    if spiffe := match.get("spiffeID"):
        yield f"id = {json.dumps(spiffe['value'])}"
        yield f"prefix = {json.dumps(spiffe['type'] == 'Prefix')}"
    if sni := match.get("sni"):
        yield f"sni = {json.dumps(sni['value'])}"


def noted(kind: str, rule: Rule) -> Draft:
    """A MetadataMatcher for requests whose rule of a kind it is."""
    return {"filter": NAMESPACE, "path": [{"key": kind}], "value": {"string_match": {"exact": rule.key}}}


# --- logs ----------------------------------------------------------------------------------------


def requests_of(kind: str, rule: Rule) -> Draft | None:
    """A filter of an access log of requests; None when all of them are the rule's."""
    if rule.match is not None:
        return {"metadata_filter": {"matcher": noted(kind, rule), "match_if_key_not_found": {"value": False}}}
    if not rule.earlier:
        return None
    matcher = {"filter": NAMESPACE, "path": [{"key": kind}], "value": {"null_match": {}}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": {"value": True}}}


def connections_of(rule: Rule) -> Draft | None:
    """A filter of an access log of connections with certificates; None when all of them are the rule's."""
    parts = [] if rule.match is None else [_expression(rule.match)]
    parts += [f"!({_expression(match)})" for match in rule.earlier]
    if not parts:
        return None
    return {"extension_filter": named(CEL_FILTER, CEL, {"expression": " && ".join(parts)})}


def _expression(match: Json) -> str:
    parts = []
    if spiffe := match.get("spiffeID"):
        value = json.dumps(spiffe["value"])
        san = "connection.uri_san_peer_certificate"
        parts.append(f"{san}.startsWith({value})" if spiffe["type"] == "Prefix" else f"{san} == {value}")
    if sni := match.get("sni"):
        parts.append(f"connection.requested_server_name == {json.dumps(sni['value'])}")
    return " && ".join(parts)
