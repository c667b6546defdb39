"""A view after any changes equals one built anew, and says exactly what differs."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.codec import decode
from mesh.resource import Resource, ResourceKey
from mesh.view import INDEXES, Changes, View

KINDS = ("Dataplane", "MeshService", "Zone")
NAMES = tuple("abcdefgh")
MESHES = ("m1", "m2")


def dataplane(
    name: str, mesh: str, services: tuple[str, ...], labels: dict[str, str], version: int
) -> Resource:
    inbound = [{"port": 80 + n, "tags": {"kuma.io/service": s, "v": "1"}} for n, s in enumerate(services)]
    document = {
        "type": "Dataplane",
        "name": name,
        "mesh": mesh,
        "labels": labels,
        "networking": {"address": "10.0.0.1", "inbound": inbound},
    }
    return versioned(decode(document), version)


def versioned(resource: Resource, version: int) -> Resource:
    r = resource
    return Resource(r.kind, r.mesh, r.name, r.labels, r.spec, r.status, version, version, version)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[ResourceKey, Resource | None]]:
    batch: list[tuple[ResourceKey, Resource | None]] = []
    for _ in range(draw(st.integers(0, 6))):
        kind, name = draw(st.sampled_from(KINDS)), draw(st.sampled_from(NAMES))
        mesh = "" if kind == "Zone" else draw(st.sampled_from(MESHES))
        key = ResourceKey(kind, mesh, name)
        batch.append((key, draw(st.none() | resources(key))))
    return batch


def resources(key: ResourceKey) -> st.SearchStrategy[Resource]:
    labels = st.dictionaries(st.sampled_from(["app", "kuma.io/zone"]), st.sampled_from("xy"), max_size=2)
    versions = st.integers(1, 2)
    if key.kind == "Dataplane":
        services = st.lists(st.sampled_from(["web", "db"]), max_size=2, unique=True).map(tuple)
        return st.builds(dataplane, st.just(key.name), st.just(key.mesh), services, labels, versions)
    document: dict[str, Any] = {"type": key.kind, "name": key.name, "mesh": key.mesh}
    return st.builds(lambda own, v: versioned(decode({**document, "labels": own}), v), labels, versions)


class Naive:
    """What a view should answer, by going through everything."""

    def __init__(self) -> None:
        self.records: dict[ResourceKey, Resource] = {}

    def apply(self, batch: list[tuple[ResourceKey, Resource | None]]) -> None:
        for key, resource in batch:
            if resource is None:
                self.records.pop(key, None)
            else:
                self.records[key] = resource

    def answers(self) -> dict[tuple[Any, ...], Any]:
        """Every index key with a non-empty answer."""
        found: dict[tuple[Any, ...], Any] = {}
        for key in sorted(self.records, key=lambda k: (k.mesh, k.name)):
            resource = self.records[key]
            for mesh in (key.mesh, None):
                found.setdefault(("kind", key.kind, mesh), []).append(resource)
        for key in sorted(self.records):
            for index in INDEXES.values():
                if index.kinds is None or key.kind in index.kinds:
                    for parts in set(index.rule(self.records[key])):
                        found.setdefault((index.name, *parts), []).append(key)
        return found


@settings(max_examples=120, deadline=None)
@given(st.lists(changes(), max_size=8))
def test_a_view_equals_the_naive_one_and_its_changes_are_exact(batches: list[Any]) -> None:
    view, naive = View.empty(), Naive()
    history = [(view, dict(naive.records))]
    for index, batch in enumerate(batches, start=1):
        before_records, before = dict(naive.records), naive.answers()
        naive.apply(batch)
        after = naive.answers()
        view, told = view.with_changes(index, batch)
        keys = {k for k in {*before_records, *naive.records} if before_records.get(k) != naive.records.get(k)}
        assert told.keys == keys
        assert told.index_keys == {k for k in {*before, *after} if before.get(k) != after.get(k)}
        assert_answers(view, after)
        assert view.index == index
        assert view.digest() == View.of(naive.records.values()).digest()
        assert len(view) == len(naive.records)
        history.append((view, dict(naive.records)))
    for old, records in history:  # no view was changed by what came after it
        assert {r.key: r for r in old} == records


def assert_answers(view: View, answers: dict[tuple[Any, ...], Any]) -> None:
    for key, expected in answers.items():
        if key[0] == "kind":
            assert list(view.list(key[1], key[2])) == expected
            assert view.count(key[1], key[2]) == len(expected)
        else:
            assert list(view.lookup(*key)) == expected
    for kind in KINDS:
        for mesh in ("", *MESHES, None):
            assert list(view.list(kind, mesh)) == answers.get(("kind", kind, mesh), [])


def test_lists_are_patched_in_order_when_little_changes() -> None:
    many = [dataplane(f"dp-{n:04d}", "m", ("web",), {}, 1) for n in range(0, 400, 2)]
    view = View.of(many)
    assert [r.name for r in view.list("Dataplane", "m")] == [r.name for r in many]
    for step, name in enumerate(("dp-0001", "dp-0399", "dp-0000", "dp-0001"), start=2):
        change = dataplane(name, "m", ("web",), {}, step) if step < 5 else None
        view, _ = view.with_changes(step, [(ResourceKey("Dataplane", "m", name), change)])
        if step % 2:
            names = [r.name for r in view.list("Dataplane", "m")]
            assert names == sorted(names)
    assert view.lookup("dataplane_by_service", "m", "web")[-1].name == "dp-0399"
    assert view.get("Dataplane", "m", "dp-0001") is None
    assert len(view.list("Dataplane", "m")) == 201
    assert view.list("Dataplane", "m")[0].version == 4
    assert [r.name for r in view.list("Dataplane", "m")[1:3]] == ["dp-0002", "dp-0004"]


def test_the_last_change_of_a_key_counts() -> None:
    first, second = (dataplane("a", "m", (s,), {}, 1) for s in ("web", "db"))
    view, told = View.empty().with_changes(1, [(first.key, first), (first.key, None), (second.key, second)])
    assert view.get(*first.key) == second
    assert ("dataplane_by_service", "m", "web") not in told.index_keys


def test_equal_content_is_no_change() -> None:
    view = View.of([dataplane("a", "m", ("web",), {}, 1)])
    same, told = view.with_changes(
        9, [(ResourceKey("Dataplane", "m", "a"), dataplane("a", "m", ("web",), {}, 1))]
    )
    assert told == Changes.none()
    assert not told
    assert same.index == 9
    assert same.digest() == view.digest()


def test_digest_depends_on_version_and_content() -> None:
    digests = {
        View.of([dataplane("a", "m", (service,), {}, version)]).digest()
        for service in ("web", "db")
        for version in (1, 2)
    }
    assert len(digests) == 4


def test_unknown_indexes_are_errors() -> None:
    with pytest.raises(KeyError):
        View.empty().lookup("nonsense", "x")
    with pytest.raises(KeyError, match="takes mesh, service"):
        View.empty().lookup("dataplane_by_service", "x")


def test_a_list_is_right_whichever_threads_ask_for_it() -> None:
    """Threads that patch one bucket at once must not undo each other's work."""
    view = View.of(dataplane(f"dp-{n:04d}", "m", ("web",), {}, 1) for n in range(1000))
    assert len(list(view.list("Dataplane", "m"))) == 1000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for index in range(1, 40):
                added = [dataplane(f"new-{index:02d}-{n}", "m", ("web",), {}, 1) for n in range(4)]
                view, _ = view.with_changes(index, [(each.key, each) for each in added])
                asked = [pool.submit(view.list, "Dataplane", "m") for _ in range(8)]
                assert [len(each.result()) for each in asked] == [1000 + 4 * index] * 8
                assert len(view.list("Dataplane", "m")) == 1000 + 4 * index
    finally:
        sys.setswitchinterval(interval)
