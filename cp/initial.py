"""What must exist once a control plane runs: the mesh `default`, with its default policies.

Every replica tries, and the log lets one succeed: each write is guarded by the absence of
what it creates. So it does not matter who leads, nor whether the leader changes meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import Any

from cp import tokens
from cp.config_schema import Config
from cp.limits import DEFAULTS_RETRY_S
from cp.live import LiveView
from cp.plan import Expect, PutOp
from cp.problems import Problem
from cp.resources import Origin, Resources
from cp.users import ADMIN, ADMIN_GROUP
from mesh.codec import to_document
from mesh.defaults import default_access, default_mesh, hostname_generators
from mesh.resource import ORIGIN, ResourceKey
from raftstore.errors import StoreError

log = logging.getLogger(__name__)

ACTOR = "mesh-system:control-plane"
ADMIN_TOKEN = "admin-user-token"


async def create_initial(config: Config, resources: Resources, live: LiveView) -> None:
    """Create what is missing; keep trying while the cluster cannot write."""
    wanted: list[dict[str, Any]] = []
    if not config.defaults.skip_mesh_creation and not config.federated:
        wanted.append(to_document(default_mesh()))
    if not config.defaults.skip_hostname_generators:
        wanted += [_with_origin(to_document(each), config) for each in hostname_generators(config.mode)]
    if config.access.type == "rbac" and not live.view.list("AccessRoleBinding"):
        wanted += [to_document(each) for each in default_access()]
    for document in wanted:
        await _create(document, resources, live)


async def keep_signing_keys(config: Config, resources: Resources, live: LiveView) -> None:
    """Give the cluster and each mesh a key to sign tokens with, where tokens are issued.

    A federated zone gets its keys from Global, so that tokens of either are worth the same.
    """
    if config.federated:
        return
    authn = config.dp_server.authn
    if config.api_server.authn.tokens.enable_issuer:
        await _create_key(tokens.USER, resources, live)
        if config.api_server.authn.tokens.bootstrap_admin_token:
            await _create_admin_token(resources, live)
    if authn.zone_proxy.zone_token.enable_issuer:
        await _create_key(tokens.ZONE, resources, live)
    if not authn.dp_proxy.dp_token.enable_issuer:
        return
    async for _ in live.commits(live.index):
        for mesh in live.view.list("Mesh"):
            await _create_key(tokens.of_dataplanes(mesh.name), resources, live)


async def _create_key(keys: tokens.Keys, resources: Resources, live: LiveView) -> None:
    if any(True for _ in keys.serials(live.view)):
        return
    pem = await asyncio.to_thread(tokens.new_key)
    await _create(tokens.key_document(keys, pem), resources, live)


async def _create_admin_token(resources: Resources, live: LiveView) -> None:
    if live.view.get("GlobalSecret", "", ADMIN_TOKEN) is not None:
        return
    claims = tokens.user_claims(ADMIN.name, [ADMIN_GROUP])
    token = tokens.issue(live.view, tokens.USER, claims, int(time.time()), tokens.TEN_YEARS_S)
    data = base64.b64encode(token.encode()).decode()
    await _create({"type": "GlobalSecret", "name": ADMIN_TOKEN, "data": data}, resources, live)


async def _create(document: dict[str, Any], resources: Resources, live: LiveView) -> None:
    key = ResourceKey(document["type"], document.get("mesh", ""), document["name"])
    operation = PutOp(document, expect=Expect(absent=True))
    while live.view.get(*key) is None:
        try:
            await resources.write([operation], Origin(actor=ACTOR, cause="needed by every control plane"))
            log.info("created %s %s", key.kind, key.name)
        except StoreError as error:
            log.debug("%s %s is not there yet: %s", key.kind, key.name, error)
            await asyncio.sleep(DEFAULTS_RETRY_S)
        except Problem as error:
            if error.status not in (409, 412):  # another replica was faster
                log.error("cannot create %s %s: %s", key.kind, key.name, error)
            return


def _with_origin(document: dict[str, Any], config: Config) -> dict[str, Any]:
    """A federated zone's own resources say so."""
    return document | {"labels": {ORIGIN: "zone"}} if config.federated else document
