"""Routes of HTTP requests to a destination: what MeshHTTPRoute says, in the order Envoy needs.

Envoy takes the first route that matches, the policy means the most specific one. So rules are taken
apart into single matches and sorted: exact paths, then the longest prefixes, then regular
expressions; then those with a method, with more headers, with more query parameters (the order of
the Gateway API). A prefix matches whole path elements: `/v1` is `/v1` and `/v1/…`, two routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mesh.policy.merge import hash_matches
from xds.config.confs import KindConfs, text_of
from xds.config.draft import Draft, seconds, wrapped
from xds.config.percent import fraction

CATCH_ALL: Sequence[Mapping[str, Any]] = ({"path": {"type": "PathPrefix", "value": "/"}},)
CATCH_ALL_NAME = hash_matches(CATCH_ALL)
ROUTE_IDLE_S = 1800
REQUEST_S = 15
# What the Gateway API answers where no backend gets a share.
NOWHERE_STATUS = 500


@dataclass(frozen=True, slots=True)
class Split:
    """A share of the traffic. weight 0: none."""

    cluster: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """One route. match, filters: JSON of the policy's values. kri: the route policy, "" for the default.

    mirrors: cluster and percentage ("" for all requests) of each copy. confs: policies that are for this route only.
    """

    name: str
    match: str
    splits: tuple[Split, ...]
    filters: str = "[]"
    kri: str = ""
    mirrors: tuple[tuple[str, str], ...] = ()
    confs: KindConfs = ()


def default_route(cluster: str) -> Route:
    """All requests to one cluster."""
    return Route(CATCH_ALL_NAME, text_of(CATCH_ALL[0]), (Split(cluster),))


@dataclass(frozen=True, slots=True)
class Rule:
    """One merged rule of a route policy, its backends resolved."""

    matches: Sequence[Mapping[str, Any]]
    filters: Sequence[Mapping[str, Any]]
    splits: tuple[Split, ...]
    mirrors: tuple[tuple[str, str], ...]
    kri: str
    confs: KindConfs = ()


def routes_of(rules: Iterable[Rule], cluster: str) -> tuple[Route, ...]:
    """The routes of a destination in order; what no rule matches goes to its own cluster."""
    found = list(rules)
    covered = any(hash_matches(list(rule.matches or CATCH_ALL)) == CATCH_ALL_NAME for rule in found)
    ordered = sorted_routes(found)
    return ordered if covered else (*ordered, default_route(cluster))


def sorted_routes(rules: Iterable[Rule]) -> tuple[Route, ...]:
    """The routes of rules, one per match, most specific first."""
    found: list[tuple[Any, Route]] = []
    for rule in rules:
        for match in rule.matches or CATCH_ALL:
            route = Route(
                name=rule.kri or hash_matches(list(rule.matches)),
                match=text_of(match),
                splits=rule.splits,
                filters=text_of(rule.filters),
                kri=rule.kri,
                mirrors=rule.mirrors,
                confs=rule.confs,
            )
            found.append((precedence(match), route))
    found.sort(key=lambda pair: pair[0])
    return tuple(route for _, route in found)


_PATH_TYPES = {"Exact": 0, "PathPrefix": 1, "RegularExpression": 2}


def precedence(match: Mapping[str, Any]) -> tuple[int, ...]:
    """Sort key: the most specific match first."""
    path = match.get("path") or CATCH_ALL[0]["path"]
    return (
        _PATH_TYPES[path["type"]],
        -len(path["value"]),
        0 if match.get("method") else 1,
        -len(match.get("headers") or ()),
        -len(match.get("queryParams") or ()),
    )


# --- drafts --------------------------------------------------------------------------------------


def route_drafts(routes: Iterable[Route]) -> list[tuple[Route, Draft]]:
    """Envoy's routes, each with the route it comes from (a prefix makes two)."""
    return [(route, draft) for route in routes for draft in _drafts(route)]


def _drafts(route: Route) -> Iterator[Draft]:
    match = msgspec.json.decode(route.match)
    filters = msgspec.json.decode(route.filters)
    for path, prefix in _paths(match.get("path")):
        draft: Draft = {"name": route.name, "match": path | _conditions(match)}
        draft["route"] = {
            **_target(route.splits),
            "timeout": seconds(REQUEST_S),
            "idle_timeout": seconds(ROUTE_IDLE_S),
        }
        for found in filters:
            _FILTERS[found["type"]](draft, found, prefix)
        if "route" in draft and not route.splits:
            del draft["route"]
            draft["direct_response"] = {"status": NOWHERE_STATUS}
        if route.mirrors and "route" in draft:
            draft["route"]["request_mirror_policies"] = [_mirror(*mirror) for mirror in route.mirrors]
        yield draft


def _paths(path: Mapping[str, str] | None) -> Iterator[tuple[Draft, str]]:
    """Envoy's path conditions, each with the prefix that a rewrite would replace."""
    if path is None:
        yield {"prefix": "/"}, "/"
        return
    value = path["value"]
    if path["type"] == "Exact":
        yield {"path": value}, ""
    elif path["type"] == "RegularExpression":
        yield {"safe_regex": {"regex": value}}, ""
    elif value == "/":
        yield {"prefix": "/"}, "/"
    else:
        trimmed = value.rstrip("/")
        yield {"path": trimmed}, trimmed
        yield {"prefix": trimmed + "/"}, trimmed + "/"


def _conditions(match: Mapping[str, Any]) -> Draft:
    draft: Draft = {}
    headers = [header_matcher(header) for header in match.get("headers") or ()]
    if method := match.get("method"):
        headers.insert(0, {"name": ":method", "string_match": {"exact": method}})
    if headers:
        draft["headers"] = headers
    if params := match.get("queryParams"):
        draft["query_parameters"] = [_parameter(param) for param in params]
    return draft


def header_matcher(header: Mapping[str, str]) -> Draft:
    """A condition on a header, of a policy's `{name, type, value}`."""
    kind, value, name = header.get("type") or "Exact", header.get("value", ""), header["name"]
    if kind == "Present":
        return {"name": name, "present_match": True}
    if kind == "Absent":
        return {"name": name, "present_match": False}
    if kind == "Prefix" and not value:
        return {"name": name, "present_match": True}
    if kind == "Prefix":
        return {"name": name, "string_match": {"prefix": value}}
    if kind == "RegularExpression":
        return {"name": name, "string_match": {"safe_regex": {"regex": value}}}
    return {"name": name, "string_match": {"exact": value}}


def _parameter(param: Mapping[str, str]) -> Draft:
    if param.get("type") == "RegularExpression":
        return {"name": param["name"], "string_match": {"safe_regex": {"regex": param["value"]}}}
    return {"name": param["name"], "string_match": {"exact": param["value"]}}


def _target(splits: Sequence[Split]) -> Draft:
    if not splits:
        return {}
    if len(splits) == 1:
        return {"cluster": splits[0].cluster}
    clusters = [{"name": split.cluster, "weight": wrapped(split.weight)} for split in splits]
    return {"weighted_clusters": {"clusters": clusters}}


def merged_splits(splits: Iterable[Split]) -> tuple[Split, ...]:
    """Splits with one entry per cluster; those that get nothing are left out."""
    weights: dict[str, int] = {}
    for split in splits:
        weights[split.cluster] = weights.get(split.cluster, 0) + split.weight
    return tuple(Split(cluster, weight) for cluster, weight in weights.items() if weight)


# --- filters -------------------------------------------------------------------------------------


def _request_headers(draft: Draft, found: Mapping[str, Any], prefix: str) -> None:
    _headers(draft, found.get("requestHeaderModifier") or {}, "request")


def _response_headers(draft: Draft, found: Mapping[str, Any], prefix: str) -> None:
    _headers(draft, found.get("responseHeaderModifier") or {}, "response")


def _headers(draft: Draft, modifier: Mapping[str, Any], side: str) -> None:
    added = [header_option(h["name"], h["value"], append=False) for h in modifier.get("set") or ()]
    added += [header_option(h["name"], h["value"], append=True) for h in modifier.get("add") or ()]
    if added:
        draft.setdefault(f"{side}_headers_to_add", []).extend(added)
    if removed := modifier.get("remove"):
        draft.setdefault(f"{side}_headers_to_remove", []).extend(removed)


def header_option(name: str, value: str, *, append: bool) -> Draft:
    """A header to add to what is there, or to put in its place."""
    option: Draft = {"header": {"key": name, "value": value}}
    if not append:
        option["append_action"] = "OVERWRITE_IF_EXISTS_OR_ADD"
    return option


_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}


def _redirect(draft: Draft, found: Mapping[str, Any], prefix: str) -> None:
    redirect = found["requestRedirect"]
    action: Draft = {"response_code": _REDIRECT_CODES[redirect.get("statusCode", 302)]}
    if scheme := redirect.get("scheme"):
        action["scheme_redirect"] = scheme
    if hostname := redirect.get("hostname"):
        action["host_redirect"] = hostname
    if port := redirect.get("port"):
        action["port_redirect"] = port
    action |= _path(redirect.get("path"), prefix)
    draft.pop("route", None)
    draft["redirect"] = action


def _rewrite(draft: Draft, found: Mapping[str, Any], prefix: str) -> None:
    rewrite = found["urlRewrite"]
    action = draft.get("route")
    if action is None:
        return
    if hostname := rewrite.get("hostname"):
        action["host_rewrite_literal"] = hostname
    elif rewrite.get("hostToBackendHostname"):
        action["auto_host_rewrite"] = wrapped(True)
    action |= _path(rewrite.get("path"), prefix)


def _path(path: Mapping[str, str] | None, prefix: str) -> Draft:
    """How a path changes. prefix: what of it matched, "" when it was no prefix.

    A prefix that ends in a slash is replaced by one that does, so that its rest stays a path of its own.
    """
    if path is None or (path["type"] != "ReplaceFullPath" and not prefix):
        return {}
    if path["type"] == "ReplaceFullPath":
        replacement = path["replaceFullPath"]
    elif prefix.endswith("/"):
        return {"prefix_rewrite": path["replacePrefixMatch"].rstrip("/") + "/"}
    else:
        replacement = path["replacePrefixMatch"]
    return {"regex_rewrite": {"pattern": {"regex": ".*"}, "substitution": replacement}}


def _no_change(draft: Draft, found: Mapping[str, Any], prefix: str) -> None:
    """Mirrors are resolved to clusters beforehand."""


_FILTERS = {
    "RequestHeaderModifier": _request_headers,
    "ResponseHeaderModifier": _response_headers,
    "RequestRedirect": _redirect,
    "URLRewrite": _rewrite,
    "RequestMirror": _no_change,
}


def _mirror(cluster: str, percentage: str) -> Draft:
    if not percentage:
        return {"cluster": cluster}
    return {"cluster": cluster, "runtime_fraction": {"default_value": fraction(percentage)}}


def with_confs(route: Route, confs: KindConfs) -> Route:
    """The route with its own confs."""
    return replace(route, confs=confs)
