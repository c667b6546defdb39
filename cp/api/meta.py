"""What the control plane says of itself: `/`, `/config`, health, metrics, cluster, kinds."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.config import redacted
from cp.metrics import CONTENT_TYPE
from cp.version import BASED_ON_KUMA, PRODUCT, version
from mesh.codec import rfc3339
from mesh.kinds.base import Kind
from mesh.registry import KINDS
from raftstore.errors import StoreError
from raftstore.port import Member, Status


def routes(context: Context) -> list[web.RouteDef]:
    """Routes that need no kind and no mesh."""
    meta = _Meta(context)
    return [
        web.get("/", meta.index),
        web.get("/config", meta.config),
        *health_routes(context),
        web.get("/policies", meta.policies),
        web.get("/_resources", meta.resources),
        web.get("/global-insights", meta.global_insights),
    ]


def health_routes(context: Context) -> list[web.RouteDef]:
    """What the diagnostics port serves, too."""
    meta = _Meta(context)
    return [
        web.get("/healthy", meta.healthy),
        web.get("/ready", meta.ready),
        web.get("/metrics", meta.metrics),
    ]


class _Meta:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def index(self, request: web.Request) -> web.Response:
        context = self._context
        gui = context.config.api_server.gui
        status = await self._status()
        return json_answer(
            {
                "hostname": context.hostname,
                "product": PRODUCT,
                "tagline": PRODUCT,  # what kumactl before 2.9 reads
                "version": BASED_ON_KUMA,
                "instanceId": context.instance,
                "clusterId": status.cluster_id if status else "",
                "gui": (gui.root_url or gui.base_path) if gui.enabled else "",
                "basedOnKuma": BASED_ON_KUMA,
                "raftmesh": {"version": version(), "nodeId": context.config.raft.node_id},
            }
        )

    async def config(self, request: web.Request) -> web.Response:
        self._context.access.metadata(user_of(request, self._context))
        return json_answer(redacted(self._context.config))

    async def healthy(self, request: web.Request) -> web.Response:
        """Alive: this process answers. Whether it can serve is `/ready`."""
        return json_answer({"status": "healthy"})

    async def ready(self, request: web.Request) -> web.Response:
        """Whether reads and proxies can be served. A replica without quorum is ready: it
        serves its view, and `writable` says that it takes no writes. One that was removed is not: its
        view will never move again. Nor is one that has nothing of the cluster's log yet."""
        live = self._context.live
        status = await self._status()
        removed = status is not None and any(member.role == "removed" for member in status.members)
        ready = live.ready and live.informed and not removed
        body = {
            "status": "ready" if ready else "not ready",
            "index": live.index,
            "writable": bool(status and status.has_quorum and status.leader and not status.read_only_reason),
        }
        return json_answer(body, 200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        context = self._context
        context.metrics.observe_replica(await self._status(), context.live.index)
        for kind in KINDS.values():
            context.metrics.resources_count.labels(kind.name).set(context.live.view.count(kind.name))
        return web.Response(body=context.metrics.expose(), headers={"Content-Type": CONTENT_TYPE})

    async def policies(self, request: web.Request) -> web.Response:
        return json_answer({"policies": [_policy(kind) for kind in KINDS.values() if kind.is_policy]})

    async def resources(self, request: web.Request) -> web.Response:
        kinds = sorted((kind for kind in KINDS.values() if kind.path), key=lambda kind: kind.name)
        return json_answer({"resources": [_resource(kind) for kind in kinds]})

    async def global_insights(self, request: web.Request) -> web.Response:
        view = await view_for(request, self._context)
        totals = {kind.name: {"total": view.count(kind.name)} for kind in KINDS.values() if kind.path}
        return json_answer(
            {
                "type": "GlobalInsights",
                "creationTime": rfc3339(time.time_ns() // 1_000_000),
                "resources": totals,
            }
        )

    async def _status(self) -> Status | None:
        try:
            return await self._context.store.status()
        except StoreError:  # the store process restarts: say what is known without it
            return None


def status_body(status: Status) -> dict[str, Any]:
    """The JSON of `/cluster`."""
    return {
        "id": status.id,
        "clusterId": status.cluster_id,
        "role": status.role,
        "leader": status.leader,
        "term": status.term,
        "commitIndex": status.commit_index,
        "appliedIndex": status.applied_index,
        "durableIndex": status.durable_index,
        "hasQuorum": status.has_quorum,
        "readOnlyReason": status.read_only_reason,
        "members": [_member(member) for member in status.members],
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "address": member.address,
        "role": member.role,
        "connected": member.connected,
        "matchIndex": member.match_index,
        "wanted": member.wanted,
    }


def _policy(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "readOnly": kind.read_only,
        "path": kind.path,
        "singularDisplayName": kind.singular,
        "pluralDisplayName": kind.plural,
        "isExperimental": False,
        "isTargetRefBased": True,
        "isInbound": kind.has_from or kind.has_rules,
        "isOutbound": kind.has_to,
    }


def _resource(kind: Kind) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": kind.name,
        "path": kind.path,
        "scope": kind.scope.capitalize(),
        "shortName": kind.short,
        "readOnly": kind.read_only,
        "includeInFederation": kind.writable_on_global,
        "singularDisplayName": kind.singular,
        "pluralDisplayName": kind.plural,
    }
    if kind.is_policy:
        body["policy"] = {
            "isTargetRef": True,
            "hasToTargetRef": kind.has_to,
            "hasFromTargetRef": kind.has_from,
            "hasRulesTargetRef": kind.has_rules,
            "isFromAsRules": kind.from_is_rules,
        }
    return body
