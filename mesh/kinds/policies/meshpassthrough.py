"""MeshPassthrough: which traffic to places outside the mesh a proxy lets through."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Int32, Kind, Model, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class PassthroughMatch(Model):
    """A place outside the mesh."""

    type: Literal["Domain", "IP", "CIDR"]
    value: str
    port: Int32 | None = None
    protocol: Literal["tcp", "tls", "grpc", "http", "http2", "mysql"] = default("tcp")


class Conf(Model):
    """What is let through: everything, what matches, or nothing."""

    passthrough_mode: Literal["All", "Matched", "None"] | None = None
    append_match: tuple[PassthroughMatch, ...] | None = None


class MeshPassthrough(Model):
    """Passthrough of the selected proxies."""

    target_ref: TargetRef | None = None
    default: Conf = msgspec.field(default_factory=Conf)


_TOP = ("Mesh", "MeshSubset", "Dataplane")
_HTTP = ("http", "http2", "grpc")
_DOMAIN = re.compile(r"(\*\.)?[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*\.?", re.I)


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshPassthrough = resource.spec
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", _TOP)
    matches = spec.default.append_match or ()
    for index, match in enumerate(matches):
        yield from _match(match, f"spec.default.appendMatch[{index}]")
    yield from _protocols(matches, "spec.default.appendMatch")


def _match(match: PassthroughMatch, path: str) -> Errors:
    if match.port is not None and not 1 <= match.port <= 65535:
        yield FieldError(f"{path}.port", "port must be a valid (1-65535)")
    if match.protocol == "mysql" and match.port is None:
        yield FieldError(f"{path}.port", "port must be defined for MySQL protocol")
    if match.type == "IP" and not checks.is_ip(match.value):
        yield FieldError(f"{path}.value", "provided IP has incorrect value")
    if match.type == "CIDR" and not _is_cidr(match.value):
        yield FieldError(f"{path}.value", "provided CIDR has incorrect value")
    if match.type == "Domain":
        yield from _domain(match, path)


def _domain(match: PassthroughMatch, path: str) -> Errors:
    if match.protocol in ("tcp", "mysql"):
        text = f"protocol {match.protocol} is not supported for a domain"
        yield FieldError(f"{path}.protocol", text)
    if match.value == "*":
        yield FieldError(f"{path}.value", "provided DNS has incorrect value")
    elif "*" in match.value.removeprefix("*."):
        yield FieldError(f"{path}.value", "provided DNS has incorrect value: a wildcard can only stand first")
    elif not _DOMAIN.fullmatch(match.value):
        yield FieldError(f"{path}.value", "provided DNS has incorrect value")


def _is_cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return "/" in value


def _protocols(matches: Sequence[PassthroughMatch], path: str) -> Errors:
    """One port speaks one HTTP dialect, since Envoy picks the filter chain before it sees a request."""
    first: dict[int | None, str] = {}
    for index, match in enumerate(matches):
        if match.protocol not in _HTTP:
            continue
        known = first.setdefault(match.port, match.protocol)
        if known != match.protocol:
            port = match.port if match.port is not None else "any"
            text = (
                f"using the same port {port} in multiple matches requires the same protocol, {known} is used"
            )
            yield FieldError(f"{path}[{index}].port", text)


KIND = Kind(
    name="MeshPassthrough",
    scope="mesh",
    path="meshpassthroughs",
    spec_type=MeshPassthrough,
    arg="meshpassthrough",
    singular="Mesh Passthrough",
    plural="Mesh Passthroughs",
    short="mp",
    kds=POLICY_KDS,
    is_policy=True,
    order=500,
    validate=validate,
    warn=checks.deprecations,
    description="Which traffic to places outside the mesh a proxy lets through.",
)
