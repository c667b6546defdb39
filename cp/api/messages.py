"""Messages of server-sent events; those of commits are made once, for all watchers that want the same.

A thousand watchers of one kind are told of the same event. The first one's message serves the others, so
what each costs is to write the bytes.
"""

from __future__ import annotations

from typing import Any

import orjson

from cp.api.events import event_body
from cp.limits import WATCH_MESSAGES_BYTES_MAX
from mesh.view import View
from raftstore.types import Commit


class Messages:
    """The last messages of one worker."""

    def __init__(self, bytes_max: int = WATCH_MESSAGES_BYTES_MAX) -> None:
        self._made: dict[tuple[int, tuple[int, ...], bool], bytes] = {}
        self._bytes = 0
        self._bytes_max = bytes_max

    def of_commit(self, commit: Commit, positions: tuple[int, ...], before: View | None) -> bytes:
        """The message that tells these events of a commit; with the state before it, what changed."""
        key = (commit.index, positions, before is not None)
        known = self._made.get(key)
        if known is not None:
            return known
        events = [event_body(commit.events[position], before=before) for position in positions]
        made = message("commit", commit.index, {"index": commit.index, "events": events})
        self._made[key] = made
        self._bytes += len(made)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._made.pop(next(iter(self._made))))
        return made


def message(event: str, index: int, body: Any) -> bytes:
    """One message. Its id is an index, from which a browser's EventSource resumes."""
    return encoded(event, index, orjson.dumps(body))


def encoded(event: str, index: int, body: bytes) -> bytes:
    """A message of a body that is JSON already."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (index, event.encode(), body)
