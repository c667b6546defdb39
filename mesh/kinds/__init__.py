"""The kinds of resources. `ALL` is every kind there is; nothing else registers one."""

from __future__ import annotations

from mesh.kinds.base import Kind
from mesh.kinds.dataplane import DATAPLANE
from mesh.kinds.mesh import MESH
from mesh.kinds.policies import KINDS as POLICIES
from mesh.kinds.secrets import CONFIG, GLOBAL_SECRET, SECRET

KINDS: tuple[Kind, ...] = (
    CONFIG,
    DATAPLANE,
    GLOBAL_SECRET,
    MESH,
    SECRET,
)

ALL: tuple[Kind, ...] = tuple(sorted((*KINDS, *POLICIES), key=lambda kind: kind.name))
