"""How the API tells an event of the log: who changed what, when, why, and what is there since."""

from __future__ import annotations

from typing import Any

from cp.fielddiff import field_changes, without_secrets
from mesh.codec import decode_value, rfc3339, to_document
from mesh.errors import BadRequest
from mesh.resource import ResourceKey
from mesh.view import View
from raftstore.types import Event, Op


def event_body(event: Event, *, with_resource: bool = True, before: View | None = None) -> dict[str, Any]:
    """The JSON of one event. `resource` is None after a delete; what a secret holds is not told.

    before: the state that the event changed, to tell in `changes` which fields; None leaves that out.
    """
    body: dict[str, Any] = {
        "index": event.index,
        "term": event.term,
        "time": rfc3339(event.time_ms),
        "op": "delete" if event.op is Op.DELETE else "put",
        "type": event.key.kind,
        "mesh": event.key.mesh,
        "name": event.key.name,
        "previousVersion": event.previous_version,
        "actor": event.actor,
        "reason": event.cause,
        "requestId": event.request_id.rpartition("#")[0] or event.request_id,
        "via": event.via,
    }
    document = _document(event) if with_resource else None
    if before is not None:
        previous = before.get(*event.key)
        found = field_changes(to_document(previous) if previous else None, document)
        body["changes"] = [change.document() for change in found]
    if with_resource:
        # Who may read secrets may do so where they are; logs are kept, and streams travel.
        body["resource"] = without_secrets(document)
    return body


def _document(event: Event) -> dict[str, Any] | None:
    if event.op is Op.DELETE or event.value is None:
        return None
    try:
        resource = decode_value(
            ResourceKey(*event.key), event.value, event.index, event.created_ms, event.time_ms
        )
    except BadRequest:
        return None
    return to_document(resource)
