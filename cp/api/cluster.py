"""Operating the cluster: hand leadership over, add and remove members, take a snapshot.

    POST   /cluster/transfer-leader   {"to": "cp-2"}
    POST   /cluster/members           {"id": "cp-4", "address": "10.0.0.4:5683"}
    DELETE /cluster/members/{id}
    POST   /cluster/snapshot

Any replica takes them; for administrators only.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from aiohttp import web

from cp.access import require
from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.body import read_object
from cp.api.context import Context
from cp.api.meta import status_body
from cp.problems import Problem, not_valid
from mesh.errors import FieldError

TITLE = "Could not change the cluster"


@runtime_checkable
class Operable(Protocol):
    """A store that can be operated (raftstore.admin.Admin)."""

    async def transfer(self, to: str) -> None: ...

    async def add(self, node_id: str, address: str) -> None: ...

    async def remove(self, node_id: str) -> None: ...

    async def snapshot(self) -> int: ...


def routes(context: Context) -> list[web.RouteDef]:
    cluster = _Cluster(context)
    return [
        web.get("/cluster", cluster.status),
        web.post("/cluster/transfer-leader", cluster.transfer),
        web.post("/cluster/members", cluster.add),
        web.delete("/cluster/members/{id}", cluster.remove),
        web.post("/cluster/snapshot", cluster.snapshot),
    ]


class _Cluster:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def status(self, request: web.Request) -> web.Response:
        """This replica's place in the cluster, as it sees it."""
        return json_answer(status_body(await self._context.store.status()))

    async def transfer(self, request: web.Request) -> web.Response:
        operable = self._operable(request)
        (to,) = await _texts(request, "to")
        await operable.transfer(to)
        return await self.status(request)

    async def add(self, request: web.Request) -> web.Response:
        operable = self._operable(request)
        node_id, address = await _texts(request, "id", "address")
        await operable.add(node_id, address)
        return await self.status(request)

    async def remove(self, request: web.Request) -> web.Response:
        await self._operable(request).remove(request.match_info["id"])
        return await self.status(request)

    async def snapshot(self, request: web.Request) -> web.Response:
        return json_answer({"index": await self._operable(request).snapshot()})

    def _operable(self, request: web.Request) -> Operable:
        subjects = self._context.config.access.static.admin_resources
        require(subjects, user_of(request, self._context), "change the cluster")
        store = self._context.store
        if not isinstance(store, Operable):
            raise Problem(
                405, "Method not Allowed", "this store is a cluster of one; there is nothing to change"
            )
        return store


async def _texts(request: web.Request, *names: str) -> list[str]:
    """Texts of the body, each required. Raises Problem with all that are missing."""
    given: dict[str, Any] = await read_object(request)
    faults = [
        FieldError(name, "must be a text that is not empty")
        for name in names
        if not isinstance(given.get(name), str) or not given[name]
    ]
    if faults:
        raise not_valid(TITLE, faults)
    return [given[name] for name in names]
