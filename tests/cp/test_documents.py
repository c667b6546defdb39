"""Texts of resources and messages of commits: made once, right for each, and bounded."""

from __future__ import annotations

from dataclasses import replace

import orjson

from cp.api.documents import Documents
from cp.api.messages import Messages
from mesh.codec import decode, encode_value, to_document
from mesh.resource import Resource
from mesh.view import View
from raftstore.types import Commit, Event, Key, Op


def resource(name: str, version: int = 1) -> Resource:
    return replace(decode({"type": "Zone", "name": name}), version=version, modified_ms=version)


def test_a_text_is_made_once_per_version() -> None:
    documents, first, second = Documents(), resource("a", 1), resource("a", 2)
    assert documents.of(first) is documents.of(first)
    assert orjson.loads(documents.of(second)) == to_document(second) != to_document(first)


def test_the_oldest_texts_are_dropped() -> None:
    size = len(Documents().of(resource("a")))
    documents, zones = Documents(bytes_max=3 * size), [resource(name) for name in "abcde"]
    texts = [documents.of(zone) for zone in zones]
    assert [documents.of(zone) is text for zone, text in zip(zones[2:], texts[2:], strict=True)] == [True] * 3
    assert documents.of(zones[0]) == texts[0] and documents.of(zones[0]) is not texts[0]
    tiny = Documents(bytes_max=size - 1)
    assert tiny.of(zones[0]) == texts[0]


def test_a_page_is_a_list_of_them() -> None:
    zones = [resource("a"), resource("b")]
    for following in (None, 'http://x/?offset=1&q="'):
        body = Documents().page(7, zones, following).body
        assert orjson.loads(body) == {"total": 7, "items": [to_document(z) for z in zones], "next": following}


def commit(index: int, *names: str) -> Commit:
    return Commit(index, tuple(event(index, name) for name in names))


def event(index: int, name: str) -> Event:
    value = encode_value(resource(name))
    return Event(index, 1, 1, "jane", f"r{index}#0", "", "n1", Op.PUT, Key("Zone", "", name), value, 0, 1)


def test_watchers_of_the_same_share_a_message() -> None:
    messages, told = Messages(), commit(5, "a", "b")
    both = messages.of_commit(told, (0, 1), None)
    assert messages.of_commit(told, (0, 1), None) is both
    one = messages.of_commit(told, (1,), None)
    assert b'"name":"a"' in both and b'"name":"a"' not in one
    assert b'"changes"' in messages.of_commit(told, (1,), View.empty()) and b'"changes"' not in one
    assert both.startswith(b"id: 5\nevent: commit\ndata: {") and both.endswith(b"}\n\n")


def test_messages_are_bounded() -> None:
    size = len(Messages().of_commit(commit(1, "a"), (0,), None))
    messages = Messages(bytes_max=2 * size)
    first = messages.of_commit(commit(1, "a"), (0,), None)
    for index in (2, 3):
        messages.of_commit(commit(index, "a"), (0,), None)
    again = messages.of_commit(commit(1, "a"), (0,), None)
    assert again == first and again is not first
