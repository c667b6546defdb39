"""Merged confs as typed values.

The type of a conf is that of the kind's declaration.  MeshHTTPRoute and MeshTCPRoute have one for the whole
list of routes of a destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh.kinds.base import Model
from mesh.kinds.policies import (
    meshaccesslog,
    meshcircuitbreaker,
    meshfaultinjection,
    meshhealthcheck,
    meshhttproute,
    meshloadbalancingstrategy,
    meshmetric,
    meshpassthrough,
    meshproxypatch,
    meshratelimit,
    meshretry,
    meshtcproute,
    meshtimeout,
    meshtls,
    meshtrace,
    meshtrafficpermission,
)

CONF_TYPES: Mapping[str, type[Model]] = {
    "MeshAccessLog": meshaccesslog.Conf,
    "MeshCircuitBreaker": meshcircuitbreaker.Conf,
    "MeshFaultInjection": meshfaultinjection.Conf,
    "MeshHTTPRoute": meshhttproute.Conf,
    "MeshHealthCheck": meshhealthcheck.Conf,
    "MeshLoadBalancingStrategy": meshloadbalancingstrategy.Conf,
    "MeshMetric": meshmetric.Conf,
    "MeshPassthrough": meshpassthrough.Conf,
    "MeshProxyPatch": meshproxypatch.Conf,
    "MeshRateLimit": meshratelimit.Conf,
    "MeshRetry": meshretry.Conf,
    "MeshTCPRoute": meshtcproute.Conf,
    "MeshTLS": meshtls.Conf,
    "MeshTimeout": meshtimeout.Conf,
    "MeshTrace": meshtrace.Conf,
    "MeshTrafficPermission": meshtrafficpermission.Conf,
}
"""The type of a merged conf.  Inbound `rules` of MeshTrafficPermission have `RuleConf` instead."""


def typed(kind: str, conf: Mapping[str, Any]) -> Any:
    """A merged conf as an instance of `CONF_TYPES[kind]`.

    Merging can combine what each policy alone could not have said (two backends of a list that holds one);
    msgspec.ValidationError names the path then.
    """
    return msgspec.convert(conf, CONF_TYPES[kind])


def typed_permission(conf: Mapping[str, Any]) -> meshtrafficpermission.RuleConf:
    """A conf of MeshTrafficPermission `rules`."""
    return msgspec.convert(conf, meshtrafficpermission.RuleConf)
