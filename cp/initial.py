"""What must exist once a control plane runs: the mesh `default`, with its default policies.

Every replica tries, and the log lets one succeed: each write is guarded by the absence of
what it creates. So it does not matter who leads, nor whether the leader changes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from cp.config_schema import Config
from cp.limits import DEFAULTS_RETRY_S
from cp.live import LiveView
from cp.plan import Expect, PutOp
from cp.problems import Problem
from cp.resources import Origin, Resources
from mesh.codec import to_document
from mesh.defaults import default_mesh, hostname_generators
from mesh.resource import ORIGIN
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

ACTOR = "mesh-system:control-plane"


async def create_initial(config: Config, resources: Resources, live: LiveView) -> None:
    """Create what is missing; keep trying while the cluster cannot write."""
    wanted: list[dict[str, Any]] = []
    if not config.defaults.skip_mesh_creation and not config.federated:
        wanted.append(to_document(default_mesh()))
    if not config.defaults.skip_hostname_generators:
        wanted += [_with_origin(to_document(each), config) for each in hostname_generators(config.mode)]
    for document in wanted:
        await _create(document, resources, live)


async def _create(document: dict[str, Any], resources: Resources, live: LiveView) -> None:
    kind, name = document["type"], document["name"]
    operation = PutOp(document, expect=Expect(absent=True))
    while live.view.get(kind, "", name) is None:
        try:
            await resources.write([operation], Origin(actor=ACTOR, cause="first start"))
            log.info("created %s %s", kind, name)
        except StoreError as error:
            log.debug("%s %s is not there yet: %s", kind, name, error)
            await asyncio.sleep(DEFAULTS_RETRY_S)
        except Problem as error:
            if error.status not in (409, 412):  # another replica was faster
                log.error("cannot create %s %s: %s", kind, name, error)
            return


def _with_origin(document: dict[str, Any], config: Config) -> dict[str, Any]:
    """A federated zone's own resources say so."""
    return document | {"labels": {ORIGIN: "zone"}} if config.federated else document
