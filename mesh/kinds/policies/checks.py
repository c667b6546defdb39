"""Semantic checks that policies share, in the wording that their users know.

Every check yields `FieldError`s with the full path of the field, and none stops at the first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from mesh.dnsnames import NOT_A_SUBDOMAIN, is_1123_subdomain
from mesh.errors import FieldError
from mesh.kinds.policies.common import BackendRef, Match, OpenTelemetry, SNIMatch, SpiffeIDMatch, TargetRef
from mesh.kinds.policies.limits import HOSTNAME_CHARS_MAX
from mesh.policy.durations import parse_ns
from mesh.resource import POLICY_ROLE, Resource

Errors = Iterator[FieldError]

MUST_BE_SET = "must be set"
DEFINED = "must be defined"
NOT_DEFINED = "must not be defined"
NOT_EMPTY = "must not be empty"
INBOUND_ONLY = "can only be used with inbound policies"

ROUTE_TOP = ("Mesh", "Dataplane", "MeshSubset", "MeshService", "MeshServiceSubset")
SYSTEM_TOP = (*ROUTE_TOP, "MeshGateway")
DESTINATIONS = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService")

_NAME = re.compile(r"[a-z0-9.\-_]*")
_TAG_NAME = re.compile(r"[a-zA-Z0-9.\-_:/]+")
_TAG_VALUE = re.compile(r"[a-zA-Z0-9.\-_:]+")


def is_system(resource: Resource) -> bool:
    """Whether a mesh operator wrote the policy (on Universal, always)."""
    return resource.labels.get(POLICY_ROLE, "system") == "system"


def top_kinds(resource: Resource, *extra: str) -> tuple[str, ...]:
    """Kinds a top-level targetRef may have where only operators may select gateways (and `extra`)."""
    return (*SYSTEM_TOP, *extra) if is_system(resource) else ROUTE_TOP


def top_kind(ref: TargetRef | None) -> str:
    """Kind of a top-level targetRef; an absent one means the mesh."""
    return ref.kind if ref is not None else "Mesh"


def includes_gateways(ref: TargetRef | None) -> bool:
    """Whether the selected proxies may be gateways."""
    if ref is None:
        return True
    if ref.kind in ("Mesh", "MeshSubset"):
        return not ref.proxy_types or "Gateway" in ref.proxy_types
    return ref.kind in ("MeshGateway", "MeshHTTPRoute")


def only_gateways(ref: TargetRef | None) -> bool:
    """Whether the selected proxies are all gateways."""
    if ref is None:
        return False
    if ref.kind in ("Mesh", "MeshSubset"):
        return ref.proxy_types == ("Gateway",)
    return ref.kind in ("MeshGateway", "MeshHTTPRoute")


def target_ref(
    ref: TargetRef | BackendRef | None,
    path: str,
    supported: Collection[str],
    *,
    inbound: bool = False,
    gateway_tags: bool = True,
) -> Errors:
    """Check one targetRef.  `inbound`: `sectionName` of a Dataplane may select an inbound."""
    if ref is None:
        return
    if ref.kind not in supported:
        yield FieldError(f"{path}.kind", f"value '{ref.kind}' is not supported")
        return
    yield from _forbidden(ref, path, gateway_tags)
    if ref.kind == "Mesh" and ref.name:
        yield FieldError(f"{path}.name", "using name with kind Mesh is not yet supported")
    if ref.proxy_types == () and ref.kind in ("Mesh", "MeshSubset"):
        yield FieldError(f"{path}.proxyTypes", "must be undefined or have at least one element")
    if ref.kind in ("MeshServiceSubset", "MeshGateway") and not ref.name:
        yield FieldError(f"{path}.name", f"must be set when kind is {ref.kind}")
    if ref.kind in _NAMED_OR_LABELLED and not ref.name and not ref.labels:
        yield FieldError(path, f"name or labels must be set when kind is {ref.kind}")
    if ref.labels and ref.kind in (*_NAMED_OR_LABELLED, "Dataplane") and (ref.name or ref.namespace):
        both = "name and namespace" if ref.namespace or ref.kind == "Dataplane" else "name"
        yield FieldError(f"{path}.labels", f"either labels or {both} must be specified")
    if ref.name and ref.kind != "Mesh" and not _NAME.fullmatch(ref.name):
        text = "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'."
        yield FieldError(f"{path}.name", text)
    if ref.kind == "Dataplane" and ref.section_name and not inbound:
        yield FieldError(f"{path}.sectionName", INBOUND_ONLY)
    yield from tags(ref.tags, f"{path}.tags")


_NAMED_OR_LABELLED = ("MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")

_FORBIDDEN = {
    "Mesh": ("tags", "mesh", "labels", "namespace", "section_name"),
    "MeshSubset": ("name", "mesh", "labels", "namespace", "section_name"),
    "MeshService": ("tags", "mesh", "proxy_types"),
    "MeshExternalService": ("tags", "mesh", "proxy_types"),
    "MeshMultiZoneService": ("tags", "mesh", "proxy_types"),
    "MeshHTTPRoute": ("tags", "mesh", "proxy_types", "section_name"),
    "MeshServiceSubset": ("mesh", "labels", "namespace", "section_name", "proxy_types"),
    "MeshGateway": ("mesh", "labels", "namespace", "section_name", "proxy_types"),
    "Dataplane": ("tags", "mesh", "proxy_types"),
}
_DOCUMENT_NAMES = {"section_name": "sectionName", "proxy_types": "proxyTypes"}


def _forbidden(ref: TargetRef | BackendRef, path: str, gateway_tags: bool) -> Errors:
    names = _FORBIDDEN[ref.kind]
    if ref.kind == "MeshGateway" and not gateway_tags:
        names = ("tags", *names)
    for name in names:
        if getattr(ref, name):
            yield FieldError(
                f"{path}.{_DOCUMENT_NAMES.get(name, name)}", f"must not be set with kind {ref.kind}"
            )


def tags(given: dict[str, str] | None, path: str) -> Errors:
    """Check names and values of tags that a targetRef selects by."""
    for name, value in (given or {}).items():
        at = f'{path}["{name}"]'
        if not name:
            yield FieldError(path, "tag name must be non-empty")
        elif not _TAG_NAME.fullmatch(name):
            text = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
            yield FieldError(at, text)
        if not value:
            yield FieldError(at, "tag value must be non-empty")
        elif value != "*" and not _TAG_VALUE.fullmatch(value):
            yield FieldError(
                at, "tag value must consist of alphanumeric characters, dots, dashes and underscores"
            )


def lists(spec: Any, *, has_to: bool = True) -> Errors:
    """Check that a policy has one of its lists, and `rules` only alone."""
    to, from_, rules = getattr(spec, "to", ()), spec.from_, spec.rules
    if not to and not from_ and not rules:
        names = "'from', 'to' or 'rules'" if has_to else "'from' or 'rules'"
        yield FieldError("spec", f"at least one of {names} has to be defined")
    if rules and (to or from_):
        yield FieldError("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")


def matches(given: Sequence[Match] | None, path: str) -> Errors:
    """Check the matches of an inbound rule."""
    for index, match in enumerate(given or ()):
        at = f"{path}.matches[{index}]"
        if match.spiffe_id is None and match.sni is None:
            yield FieldError(at, "must specify at least one of 'spiffeID' or 'sni'")
        yield from identity(match.spiffe_id, match.sni, at)


def identity(spiffe: SpiffeIDMatch | None, sni: SNIMatch | None, path: str) -> Errors:
    """Check a client identity and a server name."""
    if spiffe is not None and (fault := _spiffe_fault(spiffe.value, spiffe.type)):
        yield FieldError(f"{path}.spiffeID", f"must be a valid Spiffe ID: {fault}")
    if sni is not None and not sni.value:
        yield FieldError(f"{path}.sni.value", MUST_BE_SET)
    elif sni is not None and not is_1123_subdomain(sni.value):
        yield FieldError(f"{path}.sni.value", NOT_A_SUBDOMAIN)


_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SPIFFE_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


def _spiffe_fault(value: str, kind: str) -> str:
    """What is wrong with a SPIFFE ID, or with the beginning of one; empty when nothing is."""
    if not value:
        return "cannot be empty"
    if not value.startswith("spiffe://"):
        return "scheme is missing or invalid"
    domain, slash, rest = value[len("spiffe://") :].partition("/")
    if not domain:
        return "trust domain is missing"
    if not _TRUST_DOMAIN.fullmatch(domain):
        return (
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores"
        )
    segments = rest.split("/") if slash else []
    if segments and not segments[-1]:
        segments = segments[:-1] if kind == "Prefix" else segments
    if any(not segment for segment in segments):
        return "path cannot contain empty segments" if segments[-1] else "path cannot have a trailing slash"
    if any(segment in (".", "..") for segment in segments):
        return "path cannot contain dot segments"
    if not all(_SPIFFE_SEGMENT.fullmatch(segment) for segment in segments):
        return "path segment characters are limited to letters, numbers, dots, dashes, and underscores"
    return ""


def by_identity(given: Sequence[Match] | None) -> bool:
    """Whether any match looks at the client's identity."""
    return any(match.spiffe_id is not None for match in given or ())


NOT_BY_IDENTITY = (
    "can't be specified when matches contain spiffeID "
    "because this field cannot be conditioned on source identity"
)


def duration_ns(value: str | None) -> int | None:
    """Nanoseconds of a declared duration, None when absent."""
    return None if value is None else parse_ns(value)


def positive_duration(value: str | None, path: str) -> Errors:
    ns = duration_ns(value)
    if ns is not None and ns <= 0:
        yield FieldError(path, "must be greater than zero when defined")


def non_negative_duration(value: str | None, path: str) -> Errors:
    ns = duration_ns(value)
    if ns is not None and ns < 0:
        yield FieldError(path, "must not be negative when defined")


def greater_than_zero(value: int | None, path: str) -> Errors:
    if value is not None and value <= 0:
        yield FieldError(path, "must be greater than 0")


def in_range(value: int | None, path: str, low: int, high: int) -> Errors:
    if value is not None and not low <= value <= high:
        yield FieldError(path, f"must be in inclusive range [{low}, {high}]")


def number_of(value: int | str) -> float | None:
    """The number that an int-or-string means, None when it means none."""
    try:
        return float(value)
    except ValueError:
        return None


def percentage(value: int | str | None, path: str) -> Errors:
    """Check a percentage, which may be written as a number in a string to have decimals."""
    if value is None:
        return
    number = number_of(value)
    if number is None:
        yield FieldError(path, "string must be a valid number")
    elif not 0 <= number <= 100:
        yield FieldError(path, "must be in inclusive range [0.0, 100.0]")


def otel(backend: OpenTelemetry, path: str, *, address: bool = True) -> Errors:
    """Check a telemetry backend: exactly one of an endpoint and a reference."""
    if not backend.endpoint and backend.backend_ref is None:
        yield FieldError(path, "openTelemetry must have exactly one defined: endpoint, backendRef")
    if backend.endpoint and backend.backend_ref is not None:
        yield FieldError(path, "openTelemetry must have only one type defined: endpoint, backendRef")
    if backend.backend_ref is not None and not backend.backend_ref.labels:
        yield FieldError(f"{path}.backendRef", "backendRef must have exactly one defined: labels")
    if backend.endpoint and address:
        yield from _host_port(backend.endpoint, f"{path}.endpoint")


def _host_port(endpoint: str, path: str) -> Errors:
    if "://" in endpoint:
        yield FieldError(path, "must be in host:port format, not a URL")
        return
    host, colon, port = endpoint.rpartition(":")
    if colon and (not host or not port.isdigit() or not 1 <= int(port) <= 65535):
        yield FieldError(path, "must be in host:port format")


def hostname(value: str | None, path: str) -> Errors:
    """Check a host name that is written into requests."""
    if value is None:
        return
    if len(value) > HOSTNAME_CHARS_MAX:
        yield FieldError(path, f"must be no more than {HOSTNAME_CHARS_MAX} characters")
    if is_ip(value):
        yield FieldError(path, "cannot be an IP address")
    elif len(value) <= HOSTNAME_CHARS_MAX and not is_1123_subdomain(value):
        yield FieldError(path, NOT_A_SUBDOMAIN)


def is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_url(value: str) -> bool:
    """Whether a value is an absolute URL."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def one_of(owner: str, path: str, present: Iterable[str], allowed: Sequence[str]) -> Errors:
    """Check that exactly one of some alternatives is given."""
    given, names = list(present), ", ".join(allowed)
    if not given:
        yield FieldError(path, f"{owner} must have exactly one defined: {names}")
    elif len(given) > 1:
        yield FieldError(path, f"{owner} must have only one type defined: {names}")


# Deprecations, as an answer to a PUT tells them.

_OLD_KINDS = {
    "MeshSubset": "MeshSubset value for 'targetRef.kind' is deprecated, use Dataplane with labels instead",
    "MeshService": "MeshService value for 'targetRef.kind' is deprecated, use Dataplane with labels instead",
    "MeshServiceSubset": (
        "MeshServiceSubset value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"
    ),
    "MeshHTTPRoute": (
        "MeshHTTPRoute value for 'targetRef.kind' is deprecated, use 'to[].targetRef' with MeshHTTPRoute instead"
    ),
}


def deprecations(resource: Resource) -> Iterator[str]:
    """Warnings about old spellings: top-level kinds, and `from` where `rules` exists."""
    spec = resource.spec
    ref: TargetRef | None = spec.target_ref
    if ref is not None and ref.kind in _OLD_KINDS:
        yield _OLD_KINDS[ref.kind]
    if ref is not None and ref.proxy_types:
        yield "'targetRef.proxyTypes' field is deprecated, use Dataplane with labels instead"
    if getattr(spec, "from_", ()):
        yield "'from' field is deprecated, use 'rules' instead"
    if any(_names_collector(conf) for conf in _confs(spec)):
        yield (
            "openTelemetry.endpoint is deprecated, use openTelemetry.backendRef with a "
            "MeshOpenTelemetryBackend resource instead"
        )


def _confs(spec: Any) -> Iterator[Any]:
    """Every `default` of a policy, wherever it stands."""
    yield getattr(spec, "default", None)
    for name in ("to", "from_", "rules"):
        for entry in getattr(spec, name, None) or ():
            yield getattr(entry, "default", None)


def _names_collector(conf: Any) -> bool:
    """Whether a backend names its collector by address, rather than the resource that does."""
    for backend in getattr(conf, "backends", None) or ():
        otel = getattr(backend, "open_telemetry", None)
        if otel is not None and otel.endpoint and otel.backend_ref is None:
            return True
    return False
