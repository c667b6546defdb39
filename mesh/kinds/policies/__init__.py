"""The policies that select proxies by targetRef.  `KINDS` is all of them."""

from __future__ import annotations

from mesh.kinds.base import Kind
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

KINDS: tuple[Kind, ...] = (
    meshaccesslog.KIND,
    meshcircuitbreaker.KIND,
    meshfaultinjection.KIND,
    meshhealthcheck.KIND,
    meshhttproute.KIND,
    meshloadbalancingstrategy.KIND,
    meshmetric.KIND,
    meshpassthrough.KIND,
    meshproxypatch.KIND,
    meshratelimit.KIND,
    meshretry.KIND,
    meshtcproute.KIND,
    meshtimeout.KIND,
    meshtls.KIND,
    meshtrace.KIND,
    meshtrafficpermission.KIND,
)
