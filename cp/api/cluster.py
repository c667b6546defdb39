"""Operating the cluster: who belongs to it, who leads it, snapshots.

    GET    /cluster
    POST   /cluster/transfer-leader       {"to": "cp-2"}
    POST   /cluster/members               {"id": "cp-4", "address": "10.0.0.4:5683", "role": "observer"}, or
                                          {…, "replaces": "cp-2"}
    POST   /cluster/members/{id}/promote
    DELETE /cluster/members/{id}
    POST   /cluster/tokens                {"role": "voter", "node": "cp-4", "replaces": "cp-2", "validFor": "1h"}
    POST   /cluster/join                  what raftstore.join.make_request makes
    POST   /cluster/snapshot
    GET    /cluster/backup

Any replica takes them; for administrators only, but for `join`, which proves itself by its
token. A change that is accepted but takes longer (a replica still catches up) answers 202,
with what is pending.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol, cast, runtime_checkable

import orjson
from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.body import read_object
from cp.api.context import Context
from cp.api.meta import status_body
from cp.duration import parse_duration
from cp.problems import Problem, not_valid
from mesh.errors import FieldError

TITLE = "Could not change the cluster"
ROLES = ("observer", "voter")
TOKEN_VALID_FOR = "1h"


@runtime_checkable
class Operable(Protocol):
    """A store that can be operated (raftstore.admin.Admin)."""

    async def transfer(self, to: str) -> None: ...

    async def add(self, node_id: str, address: str, voter: bool = True, replaces: str = "") -> str: ...

    async def promote(self, node_id: str) -> str: ...

    async def remove(self, node_id: str) -> str: ...

    async def token(self, voter: bool, node_id: str, valid_s: float, replaces: str = "") -> str: ...

    async def join(self, request: str) -> str: ...

    async def snapshot(self) -> int: ...


@runtime_checkable
class BackedUp(Protocol):
    """A store that can be backed up (raftstore.backup.stream)."""

    def backup(self) -> AsyncIterator[bytes]: ...


def routes(context: Context) -> list[web.RouteDef]:
    cluster = _Cluster(context)
    return [
        web.get("/cluster", cluster.status),
        web.post("/cluster/transfer-leader", cluster.transfer),
        web.post("/cluster/members", cluster.add),
        web.post("/cluster/members/{id}/promote", cluster.promote),
        web.delete("/cluster/members/{id}", cluster.remove),
        web.post("/cluster/tokens", cluster.token),
        web.post("/cluster/join", cluster.join),
        web.post("/cluster/snapshot", cluster.snapshot),
        web.get("/cluster/backup", cluster.backup),
    ]


class _Cluster:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def status(self, request: web.Request) -> web.Response:
        """This replica's place in the cluster, as it sees it."""
        return await self._changed("")

    async def transfer(self, request: web.Request) -> web.Response:
        operable = self._operable(request)
        (to,) = _texts(await read_object(request), "to")
        await operable.transfer(to)
        return await self.status(request)

    async def add(self, request: web.Request) -> web.Response:
        operable = self._operable(request)
        body = await read_object(request)
        node_id, address = _texts(body, "id", "address")
        replaces = _text(body, "replaces")
        voter = _is_voter(body, "voter") or bool(replaces)
        return await self._changed(await operable.add(node_id, address, voter, replaces))

    async def promote(self, request: web.Request) -> web.Response:
        return await self._changed(await self._operable(request).promote(request.match_info["id"]))

    async def remove(self, request: web.Request) -> web.Response:
        return await self._changed(await self._operable(request).remove(request.match_info["id"]))

    async def token(self, request: web.Request) -> web.Response:
        operable = self._operable(request)
        body = await read_object(request)
        node_id, replaces = _text(body, "node"), _text(body, "replaces")
        voter = _is_voter(body, "observer") or bool(replaces)
        try:
            valid_s = parse_duration(_text(body, "validFor") or TOKEN_VALID_FOR)
        except ValueError as error:
            raise not_valid(TITLE, [FieldError("validFor", str(error))]) from error
        return json_answer({"token": await operable.token(voter, node_id, valid_s, replaces)})

    async def join(self, request: web.Request) -> web.Response:
        """No user is asked for: whoever has the token is meant (raftstore/join.py)."""
        body = await read_object(request)
        return json_answer(orjson.loads(await self._store().join(orjson.dumps(body).decode())))

    async def snapshot(self, request: web.Request) -> web.Response:
        return json_answer({"index": await self._operable(request).snapshot()})

    async def backup(self, request: web.Request) -> web.StreamResponse:
        """The whole store, secrets included, as one file. It carries checksums: a reader sees that it broke off."""
        self._need_admin(request)
        store = self._context.store
        if not isinstance(store, BackedUp):
            raise Problem(405, "Method not Allowed", "the log is kept in memory; there is nothing to back up")
        async with aclosing(cast(AsyncGenerator[bytes], store.backup())) as chunks:
            first = await anext(chunks)  # what cannot even begin is answered as an error
            response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
            await response.prepare(request)
            await response.write(first)
            async for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
        return response

    async def _changed(self, pending: str) -> web.Response:
        body = status_body(await self._context.store.status())
        return json_answer(body | {"pending": pending} if pending else body, status=202 if pending else 200)

    def _operable(self, request: web.Request) -> Operable:
        self._need_admin(request)
        return self._store()

    def _need_admin(self, request: web.Request) -> None:
        self._context.access.operate(user_of(request, self._context))

    def _store(self) -> Operable:
        store = self._context.store
        if not isinstance(store, Operable):
            raise Problem(
                405,
                "Method not Allowed",
                "this is a cluster of one inside one process; to let it grow, restore a backup of it as the "
                "first replica of a cluster with certificates",
            )
        return store


def _is_voter(body: dict[str, Any], default: str) -> bool:
    role = _text(body, "role") or default
    if role not in ROLES:
        raise not_valid(TITLE, [FieldError("role", f"must be one of {', '.join(ROLES)}")])
    return role == "voter"


def _text(body: dict[str, Any], name: str) -> str:
    """An optional text of the body, or ""."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise not_valid(TITLE, [FieldError(name, "must be a text")])
    return value or ""


def _texts(body: dict[str, Any], *names: str) -> list[str]:
    """Texts of the body, each required. Raises Problem with all that are missing."""
    faults = [
        FieldError(name, "must be a text that is not empty")
        for name in names
        if not isinstance(body.get(name), str) or not body[name]
    ]
    if faults:
        raise not_valid(TITLE, faults)
    return [body[name] for name in names]
