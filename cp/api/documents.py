"""The JSON of resources, made once per version and shared by every answer that shows it.

A resource is a value that is never changed, only followed by the next one, so its text stays true for as
long as somebody holds it. A list of ten thousand proxies is a join of texts that are already there.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from cp.limits import DOCUMENTS_BYTES_MAX
from mesh.codec import to_json
from mesh.resource import Resource


class Documents:
    """Texts of one worker, the oldest dropped first when there are too many."""

    def __init__(self, bytes_max: int = DOCUMENTS_BYTES_MAX) -> None:
        # By identity. The resource is held with its text, so an identity here is never another's.
        self._known: dict[int, tuple[Resource, bytes]] = {}
        self._bytes = 0
        self._bytes_max = bytes_max

    def of(self, resource: Resource) -> bytes:
        """The JSON object of the API."""
        known = self._known.get(id(resource))
        if known is not None:
            return known[1]
        text = to_json(resource)
        if len(text) > self._bytes_max:
            return text
        self._known[id(resource)] = (resource, text)
        self._bytes += len(text)
        while self._bytes > self._bytes_max:
            oldest = next(iter(self._known))
            self._bytes -= len(self._known.pop(oldest)[1])
        return text

    def page(self, total: int, resources: Iterable[Resource], following: str | None) -> web.Response:
        """A list, as Kuma's API answers it."""
        items = b",".join([self.of(resource) for resource in resources])
        body = b'{"total":%d,"items":[%b],"next":%b}' % (total, items, orjson.dumps(following))
        return web.Response(body=body, content_type="application/json")
