"""MeshTCPRoute: where connections to a destination go."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.kinds.base import POLICY_KDS, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import BackendRef, TargetRef
from mesh.kinds.policies.meshhttproute import backend_refs
from mesh.reader import Reader
from mesh.resource import Resource


class RouteConf(Model):
    """The destinations that share the connections."""

    backend_refs: tuple[BackendRef, ...] | None = None


class Rule(Model):
    """The only rule of a destination."""

    default: RouteConf


Conf = Rule


class To(Model):
    """Where connections to one destination go."""

    target_ref: TargetRef
    rules: Annotated[tuple[Rule, ...], Meta(max_length=1)]


class MeshTCPRoute(Model):
    """Routes of connections that the selected proxies open."""

    target_ref: TargetRef | None = None
    to: Annotated[tuple[To, ...], Meta(min_length=1)] | None = msgspec.field(default=None)


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshTCPRoute = resource.spec
    gateway = checks.top_kind(spec.target_ref) == "MeshGateway"
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.top_kinds(resource))
    for index, outlet in enumerate(spec.to or ()):
        path = f"spec.to[{index}]"
        kinds = ("Mesh",) if gateway else checks.DESTINATIONS[1:]
        yield from checks.target_ref(outlet.target_ref, f"{path}.targetRef", kinds)
        for number, rule in enumerate(outlet.rules):
            at = f"{path}.rules[{number}].default.backendRefs"
            yield from backend_refs(rule.default.backend_refs, at)


KIND = Kind(
    name="MeshTCPRoute",
    scope="mesh",
    path="meshtcproutes",
    spec_type=MeshTCPRoute,
    arg="meshtcproute",
    singular="Mesh TCP Route",
    plural="Mesh TCP Routes",
    short="mtcpr",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    order=200,
    validate=validate,
    warn=checks.deprecations,
    description="Where connections to a destination go.",
)
