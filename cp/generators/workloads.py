"""Workloads: one for each value of the label `kuma.io/workload` that Dataplanes carry."""

from __future__ import annotations

from cp.generators.proxies import proxies_behind
from mesh.kinds.others import WorkloadProxies, WorkloadStatus
from mesh.resource import WORKLOAD
from xds.config.endpoints import Selector
from xds.engine import Context, derivation

MANAGER = "workload-generator"


@derivation
def wanted_workload(ctx: Context, mesh: str, name: str) -> WorkloadStatus | None:
    """The status of the Workload that a label's value stands for; None when no Dataplane carries it."""
    if not ctx.lookup("by_label", "Dataplane", mesh, WORKLOAD, name):
        return None
    count = proxies_behind(ctx, mesh, Selector(labels=((WORKLOAD, name),)))
    return WorkloadStatus(dataplane_proxies=WorkloadProxies(**count._asdict()))
