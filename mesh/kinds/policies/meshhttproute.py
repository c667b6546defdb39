"""MeshHTTPRoute: where HTTP requests to a destination go, and what happens to them on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Kind, Model, Port, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import BackendRef, HeaderMatch, HeaderModifier, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource

NonEmpty = Annotated[str, Meta(min_length=1)]
Hostname = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]


class PathMatch(Model):
    """A condition on the path."""

    value: NonEmpty
    type: Literal["Exact", "PathPrefix", "RegularExpression"]


class QueryParamsMatch(Model):
    """A condition on one query parameter."""

    type: Literal["Exact", "RegularExpression"]
    name: NonEmpty
    value: str


class HttpMatch(Model):
    """A condition on requests; what is given must all hold."""

    path: PathMatch | None = None
    method: Literal["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] | None = (
        None
    )
    query_params: tuple[QueryParamsMatch, ...] | None = None
    headers: tuple[HeaderMatch, ...] | None = None


class PathRewrite(Model):
    """How a path is rewritten."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(Model):
    """Answers with a redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: Hostname | None = None
    path: PathRewrite | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = default(302)


class URLRewrite(Model):
    """Rewrites host and path before the request goes on."""

    hostname: Hostname | None = None
    path: PathRewrite | None = None
    host_to_backend_hostname: bool | None = None


class RequestMirror(Model):
    """Sends a copy of a share of the requests elsewhere."""

    backend_ref: BackendRef
    percentage: int | str | None = None


class Filter(Model):
    """One change of requests or answers; `type` tells which field is set."""

    type: Literal[
        "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror"
    ]
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: URLRewrite | None = None
    request_mirror: RequestMirror | None = None


class RouteConf(Model):
    """What happens to matching requests."""

    filters: tuple[Filter, ...] | None = None
    backend_refs: tuple[BackendRef, ...] | None = None


class Rule(Model):
    """Requests (any of the matches) and what happens to them."""

    matches: Annotated[tuple[HttpMatch, ...], Meta(min_length=1)]
    default: RouteConf


class Conf(Model):
    """All routes of one destination, for some hostnames or for all."""

    rules: tuple[Rule, ...] = ()
    hostnames: tuple[str, ...] | None = None


class To(Model):
    """Routes of one destination."""

    target_ref: TargetRef
    rules: tuple[Rule, ...]
    hostnames: tuple[str, ...] | None = None


class MeshHTTPRoute(Model):
    """Routes of HTTP requests that the selected proxies send."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshHTTPRoute = resource.spec
    top = checks.top_kind(spec.target_ref)
    gateway = top == "MeshGateway"
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.top_kinds(resource))
    for index, outlet in enumerate(spec.to):
        path = f"spec.to[{index}]"
        kinds = ("Mesh",) if gateway else checks.DESTINATIONS[1:]
        yield from checks.target_ref(outlet.target_ref, f"{path}.targetRef", kinds)
        if outlet.hostnames and not gateway:
            yield FieldError(f"{path}.hostnames", checks.NOT_DEFINED)
        for number, rule in enumerate(outlet.rules):
            yield from _rule(rule, f"{path}.rules[{number}]", gateway)


def _rule(rule: Rule, path: str, gateway: bool) -> Errors:
    for index, match in enumerate(rule.matches):
        yield from _match(match, f"{path}.matches[{index}]")
    prefixed = all(match.path is not None and match.path.type == "PathPrefix" for match in rule.matches)
    for index, change in enumerate(rule.default.filters or ()):
        yield from _filter(change, f"{path}.default.filters[{index}]", prefixed, gateway)
    yield from backend_refs(rule.default.backend_refs, f"{path}.default.backendRefs")
    redirects = any(change.request_redirect is not None for change in rule.default.filters or ())
    if gateway and not rule.default.backend_refs and not redirects:
        yield FieldError(f"{path}.default.backendRefs", checks.NOT_EMPTY)


def _match(match: HttpMatch, path: str) -> Errors:
    if match.path is not None and match.path.type != "RegularExpression":
        yield from _path_match(match.path, f"{path}.path.value")
    seen: set[str] = set()
    for index, param in enumerate(match.query_params or ()):
        if param.name in seen:
            yield FieldError(f"{path}.queryParams[{index}].name", f"multiple entries for name {param.name}")
        seen.add(param.name)


def _path_match(match: PathMatch, path: str) -> Errors:
    if not match.value.startswith("/"):
        yield FieldError(path, "must be an absolute path")
    if match.type == "PathPrefix" and match.value != "/" and match.value.endswith("/"):
        text = (
            "does not need a trailing slash because only a `/`-separated prefix or an entire path is matched"
        )
        yield FieldError(path, text)


def _filter(change: Filter, path: str, prefixed: bool, gateway: bool) -> Errors:
    field = change.type[0].lower() + change.type[1:] if change.type != "URLRewrite" else "urlRewrite"
    at = f"{path}.{field}"
    match change.type:
        case "RequestHeaderModifier":
            yield from _header_modifier(change.request_header_modifier, at)
        case "ResponseHeaderModifier":
            yield from _header_modifier(change.response_header_modifier, at)
        case "RequestRedirect":
            yield from _redirect(change.request_redirect, at, prefixed)
        case "URLRewrite":
            yield from _rewrite(change.url_rewrite, at, prefixed, gateway)
        case "RequestMirror":
            yield from _mirror(change.request_mirror, at)


def _header_modifier(modifier: HeaderModifier | None, path: str) -> Errors:
    if modifier is None or not (modifier.set or modifier.add or modifier.remove):
        yield FieldError(path, "must have at least one defined: set, add, remove")
        return
    yield from _duplicates((header.name for header in modifier.set or ()), f"{path}.set")
    yield from _duplicates((header.name for header in modifier.add or ()), f"{path}.add")
    yield from _duplicates(modifier.remove or (), f"{path}.remove")


def _duplicates(names: Iterable[str], path: str) -> Errors:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name.lower() in seen:
            yield FieldError(f"{path}[{index}].name", "duplicate header name")
        seen.add(name.lower())


def _redirect(redirect: RequestRedirect | None, path: str, prefixed: bool) -> Errors:
    if redirect is None:
        yield FieldError(path, checks.DEFINED)
        return
    yield from _replace(redirect.path, path, prefixed)
    yield from checks.hostname(redirect.hostname, f"{path}.hostname")


def _rewrite(rewrite: URLRewrite | None, path: str, prefixed: bool, gateway: bool) -> Errors:
    if rewrite is None:
        yield FieldError(path, checks.DEFINED)
        return
    yield from _replace(rewrite.path, path, prefixed)
    yield from checks.hostname(rewrite.hostname, f"{path}.hostname")
    if rewrite.host_to_backend_hostname and not gateway:
        yield FieldError(f"{path}.hostToBackendHostname", "can only be set with MeshGateway")


def _replace(rewrite: PathRewrite | None, path: str, prefixed: bool) -> Errors:
    if rewrite is not None and rewrite.type == "ReplacePrefixMatch" and not prefixed:
        at = f"{path}.path.replacePrefixMatch"
        yield FieldError(at, "can only appear if all matches match a path prefix")


def _mirror(mirror: RequestMirror | None, path: str) -> Errors:
    if mirror is None:
        yield FieldError(path, checks.DEFINED)
        return
    yield from checks.percentage(mirror.percentage, f"{path}.percentage")
    yield from _backend_ref(mirror.backend_ref, f"{path}.backendRef")


_BACKENDS = ("MeshService", "MeshServiceSubset", "MeshExternalService", "MeshMultiZoneService")


def backend_refs(refs: Sequence[BackendRef] | None, path: str) -> Errors:
    """Check the destinations of a route."""
    for index, ref in enumerate(refs or ()):
        yield from _backend_ref(ref, f"{path}[{index}]")


def _backend_ref(ref: BackendRef, path: str) -> Errors:
    yield from checks.target_ref(ref, path, _BACKENDS)
    if ref.kind == "MeshMultiZoneService" and ref.port is None:
        yield FieldError(f"{path}.port", "must be defined with kind MeshMultiZoneService")


KIND = Kind(
    name="MeshHTTPRoute",
    scope="mesh",
    path="meshhttproutes",
    spec_type=MeshHTTPRoute,
    arg="meshhttproute",
    singular="Mesh HTTP Route",
    plural="Mesh HTTP Routes",
    short="mhttpr",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    order=100,
    validate=validate,
    warn=checks.deprecations,
    description="Where HTTP requests to a destination go, and what happens to them on the way.",
)
