"""The kinds of resources. `ALL` is every kind there is; nothing else registers one."""

from __future__ import annotations

from mesh.kinds.access import ACCESS_ROLE, ACCESS_ROLE_BINDING
from mesh.kinds.base import Kind
from mesh.kinds.dataplane import DATAPLANE
from mesh.kinds.hostnamegenerator import HOSTNAME_GENERATOR
from mesh.kinds.identity import MESH_IDENTITY, MESH_TRUST
from mesh.kinds.insights import (
    DATAPLANE_INSIGHT,
    MESH_INSIGHT,
    SERVICE_INSIGHT,
    ZONE_EGRESS_INSIGHT,
    ZONE_INGRESS_INSIGHT,
)
from mesh.kinds.mesh import MESH
from mesh.kinds.meshexternalservice import MESH_EXTERNAL_SERVICE
from mesh.kinds.meshgateway import MESH_GATEWAY
from mesh.kinds.meshservice import MESH_MULTI_ZONE_SERVICE, MESH_SERVICE
from mesh.kinds.others import MESH_OPEN_TELEMETRY_BACKEND, MESH_ZONE_ADDRESS, WORKLOAD
from mesh.kinds.policies import KINDS as POLICIES
from mesh.kinds.secrets import CONFIG, GLOBAL_SECRET, SECRET
from mesh.kinds.zone import ZONE, ZONE_INSIGHT
from mesh.kinds.zoneproxy import ZONE_EGRESS, ZONE_INGRESS

KINDS: tuple[Kind, ...] = (
    ACCESS_ROLE,
    ACCESS_ROLE_BINDING,
    CONFIG,
    DATAPLANE,
    DATAPLANE_INSIGHT,
    GLOBAL_SECRET,
    HOSTNAME_GENERATOR,
    MESH,
    MESH_EXTERNAL_SERVICE,
    MESH_GATEWAY,
    MESH_IDENTITY,
    MESH_INSIGHT,
    MESH_MULTI_ZONE_SERVICE,
    MESH_OPEN_TELEMETRY_BACKEND,
    MESH_SERVICE,
    MESH_TRUST,
    MESH_ZONE_ADDRESS,
    SECRET,
    SERVICE_INSIGHT,
    WORKLOAD,
    ZONE,
    ZONE_EGRESS,
    ZONE_EGRESS_INSIGHT,
    ZONE_INGRESS,
    ZONE_INGRESS_INSIGHT,
    ZONE_INSIGHT,
)

ALL: tuple[Kind, ...] = tuple(sorted((*KINDS, *POLICIES), key=lambda kind: kind.name))
