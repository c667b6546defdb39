"""`POST /transactions`: many documents and deletions, all or none, in one event of the log.

The body is `{"operations": [{"op": "put", "resource": {…}}, {"op": "delete", "type": …,
"mesh": …, "name": …}]}`, or simply the documents of a YAML file, which are put. The order
does not matter (but for a resource that is named twice): a mesh and everything in it is one
transaction, whichever comes first. A refusal names the `operation` that it is about.
An operation may carry `"ifVersion": N` (0: must not exist). `?dryRun=true` writes nothing, and
tells what would change.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.body import read_documents
from cp.api.consistency import INDEX_HEADER
from cp.api.context import Context
from cp.api.crud import origin_of
from cp.api.dryrun import DryRuns, flag
from cp.api.kinds import allowed_for
from cp.limits import TRANSACTION_BYTES_MAX, TRANSACTION_DOCUMENTS_MAX
from cp.plan import DeleteOp, Expect, Operation, PutOp, Result
from cp.problems import Problem, not_valid
from mesh.errors import FieldError
from mesh.registry import KINDS
from mesh.resource import ResourceKey

TITLE = "Could not process a transaction"


def routes(context: Context) -> list[web.RouteDef]:
    dry_runs = DryRuns(context)

    async def transact(request: web.Request) -> web.Response:
        dry = flag(request, "dryRun", otherwise=False)
        documents = await read_documents(request, TRANSACTION_BYTES_MAX)
        operations = operations_of(documents)
        if dry:
            return await dry_runs.answer(request, operations)
        written = await context.resources.write(
            operations, origin_of(request, context), allowed_for(request, context)
        )
        return json_answer(
            {"index": written.index, "results": [_result(each) for each in written.results]},
            200,
            {INDEX_HEADER: str(written.index)},
        )

    return [web.post("/transactions", transact)]


def operations_of(documents: list[Any]) -> list[Operation]:
    """What the body asks for. Raises Problem naming each operation that is none."""
    first = documents[0] if documents else None
    if isinstance(first, list):
        listed, prefix = [{"op": "put", "resource": each} for each in first], ""
    elif isinstance(first, dict) and "operations" in first and "type" not in first:
        given = first["operations"]
        if not isinstance(given, list):
            raise not_valid(TITLE, [FieldError("operations", "must be a list")])
        listed, prefix = given, "operations"
    else:
        listed, prefix = [{"op": "put", "resource": each} for each in documents], ""
    if not 1 <= len(listed) <= TRANSACTION_DOCUMENTS_MAX:
        reason = f"a transaction has 1 to {TRANSACTION_DOCUMENTS_MAX} operations, this one {len(listed)}"
        raise Problem(400 if not listed else 413, TITLE, reason)
    faults: list[FieldError] = []
    operations = [_operation(each, f"{prefix}[{n}]", faults) for n, each in enumerate(listed)]
    if faults:
        raise not_valid(TITLE, faults)
    return [operation for operation in operations if operation is not None]


def _operation(given: Any, path: str, faults: list[FieldError]) -> Operation | None:
    if not isinstance(given, dict):
        faults.append(FieldError(path, "must be an object"))
        return None
    expect = _expect(given.get("ifVersion"), path, faults)
    if given.get("op") == "put":
        resource = given.get("resource")
        if isinstance(resource, dict):
            return PutOp(resource, expect=expect)
        faults.append(FieldError(f"{path}.resource", "must be a resource"))
    elif given.get("op") == "delete":
        return _deletion(given, path, expect, faults)
    else:
        faults.append(FieldError(f"{path}.op", "must be put or delete"))
    return None


def _deletion(given: dict[str, Any], path: str, expect: Expect, faults: list[FieldError]) -> DeleteOp | None:
    parts = {name: given.get(name, "") for name in ("type", "mesh", "name")}
    wrong = [name for name, value in parts.items() if not isinstance(value, str)]
    faults += [FieldError(f"{path}.{name}", "must be a text") for name in wrong]
    kind = None if "type" in wrong else KINDS.get(parts["type"])
    if kind is None or not kind.path:
        faults.append(FieldError(f"{path}.type", f"unknown kind {str(parts['type'])[:60]!r}"))
    if wrong or kind is None:
        return None
    return DeleteOp(
        ResourceKey(kind.name, parts["mesh"] if kind.scope == "mesh" else "", parts["name"]), expect
    )


def _expect(version: Any, path: str, faults: list[FieldError]) -> Expect:
    if version is None:
        return Expect()
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        faults.append(FieldError(f"{path}.ifVersion", "must be a version, or 0 for what must not exist"))
        return Expect()
    return Expect(version=version) if version else Expect(absent=True)


def _result(result: Result) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": result.key.kind,
        "mesh": result.key.mesh,
        "name": result.key.name,
        "outcome": "deleted" if result.resource is None else "created" if result.created else "updated",
    }
    if result.warnings:
        body["warnings"] = list(result.warnings)
    return body
