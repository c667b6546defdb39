"""Trying without: what is needed for a value, and that nothing else is."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.proxy import item_of
from tests.xds.config.explained import API, TO_API, TO_MESH, probe, timeout, world
from tests.xds.config.worlds import mesh, policy, resource
from xds.config.causes import needed, ordered_parts, parts_of
from xds.config.limits import CAUSES_MAX
from xds.types import CLUSTER


def test_more_causes_than_are_told() -> None:
    parts = parts_of(resource(timeout("p", *[(TO_MESH, "1s")] * (CAUSES_MAX + 1))))
    found = needed(lambda gone: len(gone), 0, parts)
    assert (len(found.parts), found.complete) == (CAUSES_MAX, False)


REFS = st.sampled_from([TO_MESH, TO_API, {"kind": "MeshService", "name": "db"}])
TOPS = st.sampled_from([{"kind": "Mesh"}, {"kind": "Dataplane"}, {"kind": "Dataplane", "name": "web"}])
VALUES = st.sampled_from(["1s", "2s", "3s"])
POLICIES = st.lists(
    st.builds(lambda top, to: (top, to), TOPS, st.lists(st.tuples(REFS, VALUES), min_size=1, max_size=3)),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(POLICIES)
def test_causes_are_sufficient_and_each_is_needed(made: Any) -> None:
    policies = [timeout(f"p{n}", *to, targetRef=top) for n, (top, to) in enumerate(made)]
    view = world(*policies)
    trial = probe(view, CLUSTER, API, "connectTimeout")
    parts = [part for each in policies for part in parts_of(resource(each))]
    used = needed(trial.without, trial.value, parts).parts
    others = [part for part in parts if part not in used]
    assert trial.without(others) == trial.value
    for part in used:
        assert trial.without([*others, part]) != trial.value


def test_parts_of_resources() -> None:
    made = resource(timeout("p", (TO_MESH, "1s"), (TO_API, "2s")))
    assert [part.rule for part in parts_of(made)] == ["to[0]", "to[1]"]
    inbound = policy("MeshTimeout", "q", from_=[{"targetRef": TO_MESH, "default": {"idleTimeout": "1s"}}])
    assert [part.rule for part in parts_of(resource(inbound))] == ["from[0]"]
    patch = policy("MeshProxyPatch", "r", default={"appendModifications": []})
    assert [part.rule for part in parts_of(resource(patch))] == [""]
    assert [part.rule for part in parts_of(resource(mesh()))] == [""]


def test_elements_of_to_are_ordered_by_what_they_point_to() -> None:
    view = world(timeout("a", (TO_MESH, "1s")), timeout("z", (TO_API, "2s")))
    items = [item_of(each) for each in view.list("MeshTimeout", "default")]
    assert [part.key.name for part in ordered_parts(view, items)] == ["a", "z"]


def test_a_trial_leaves_nothing_behind() -> None:
    view = world(timeout("slow", (TO_API, "7s")))
    trial = probe(view, CLUSTER, API, "connectTimeout")
    (part,) = parts_of(resource(timeout("slow", (TO_API, "7s"))))
    assert trial.without([part]) == "5s"
    assert trial.without([]) == "7s"
    assert trial.whole([])["connectTimeout"] == "7s"


def test_what_a_proxy_lacks_does_not_exist() -> None:
    assert not probe(world(), CLUSTER, "nothing").exists
    assert probe(world(), CLUSTER, API).exists
