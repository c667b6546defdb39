"""MeshTrafficPermission: who may talk to whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import Match, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource

Action = Literal["Allow", "Deny", "AllowWithShadowDeny"]


class Conf(Model):
    """What is done with the traffic of some clients."""

    action: Action | None = None


class From(Model):
    """Clients, and what is done with their traffic."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class RuleConf(Model):
    """Clients by identity: denied first, then allowed; who is in no list is denied."""

    deny: tuple[Match, ...] | None = None
    allow_with_shadow_deny: tuple[Match, ...] | None = None
    allow: tuple[Match, ...] | None = None


class Rule(Model):
    """Lists of clients."""

    default: RuleConf


class MeshTrafficPermission(Model):
    """Permissions at the selected proxies."""

    target_ref: TargetRef | None = None
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_FROM = ("Mesh", "MeshSubset", "MeshService", "MeshServiceSubset")


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshTrafficPermission = resource.spec
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.ROUTE_TOP, inbound=True)
    if not spec.from_ and not spec.rules:
        yield FieldError("spec", "at least one of 'from' or 'rules' has to be defined")
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", _FROM)
        if inlet.default.action is None:
            yield FieldError(f"spec.from[{index}].default.action", checks.DEFINED)
    for index, rule in enumerate(spec.rules):
        yield from _rule(rule.default, f"spec.rules[{index}]")


def _rule(conf: RuleConf, path: str) -> Errors:
    if not conf.allow and not conf.allow_with_shadow_deny and not conf.deny:
        text = "at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined"
        yield FieldError(path, text)
    yield from _clients(conf.deny or (), f"{path}.deny")
    yield from _clients(conf.allow_with_shadow_deny or (), f"{path}.allowWithShadowDeny")
    yield from _clients(conf.allow or (), f"{path}.allow")


def _clients(clients: Sequence[Match], path: str) -> Errors:
    for index, client in enumerate(clients):
        yield from checks.identity(client.spiffe_id, client.sni, f"{path}[{index}]")


KIND = Kind(
    name="MeshTrafficPermission",
    scope="mesh",
    path="meshtrafficpermissions",
    spec_type=MeshTrafficPermission,
    arg="meshtrafficpermission",
    singular="Mesh Traffic Permission",
    plural="Mesh Traffic Permissions",
    short="mtp",
    kds=POLICY_KDS,
    is_policy=True,
    has_from=True,
    has_rules=True,
    order=1100,
    validate=validate,
    warn=checks.deprecations,
    description="Who may talk to whom.",
)
