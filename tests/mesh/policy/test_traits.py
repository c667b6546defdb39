"""Reduced proxies: equal for equal purposes, and selected like the whole ones."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.policy.proxy import item_of, proxy_of
from mesh.policy.targetref import match_policies, ordered_policies
from mesh.policy.traits import mentions, reduced
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, one, policy

VALUES = st.sampled_from("xy")
KEYS = st.sampled_from("abc")
PAIRS = st.dictionaries(KEYS, VALUES, max_size=2)
TOPS = st.one_of(
    st.just({"kind": "Mesh"}),
    st.builds(lambda labels: {"kind": "Dataplane", "labels": labels}, PAIRS),
    st.builds(lambda section: {"kind": "Dataplane", "sectionName": section}, st.sampled_from(["http", "82"])),
    st.builds(lambda name: {"kind": "Dataplane", "name": name}, st.sampled_from(["d", "e"])),
    st.builds(lambda tags: {"kind": "MeshSubset", "tags": tags}, PAIRS),
    st.builds(lambda name: {"kind": "MeshService", "name": name}, VALUES),
    st.just({"kind": "MeshHTTPRoute", "name": "r"}),
)


def _dataplane(name: str, address: str, labels: dict[str, str], *tags: dict[str, str]) -> Resource:
    names = [{"name": "http"}, {}, {}]
    inbound = [{"port": 81 + n, **names[n], "tags": given} for n, given in enumerate(tags)]
    return one(
        repr(
            {
                "type": "Dataplane",
                "name": name,
                "labels": {**labels, "unmentioned": name},
                "networking": {"address": address, "inbound": inbound},
            }
        )
    )


def _timeout(name: str, top: dict[str, Any]) -> Resource:
    to = [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}]
    return policy("MeshTimeout", name, {"targetRef": top, "to": to})


ROUTE = policy(
    "MeshHTTPRoute",
    "r",
    {
        "targetRef": {"kind": "MeshSubset", "tags": {"a": "x"}},
        "to": [{"targetRef": {"kind": "MeshService", "name": "s"}, "rules": []}],
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS, st.lists(PAIRS, min_size=1, max_size=3), st.lists(TOPS, min_size=1, max_size=4))
def test_a_reduced_proxy_is_selected_like_the_whole(
    labels: dict[str, str], tags: list[dict[str, str]], tops: list[dict[str, Any]]
) -> None:
    dataplane = _dataplane("d", "10.0.0.1", labels, *({"kuma.io/service": "x", **t} for t in tags))
    policies = [_timeout(f"t{index}", top) for index, top in enumerate(tops)]
    reader = Recorder([dataplane, ROUTE, *policies])
    whole = proxy_of(reader, item_of(dataplane))
    ordered = ordered_policies(reader, "MeshTimeout", "default")
    small = reduced(whole, mentions(reader, ordered))
    one_way = match_policies(reader, whole, "MeshTimeout", ordered)
    other = match_policies(reader, small, "MeshTimeout", ordered)
    assert other.key == one_way.key
    for mine, theirs in zip(whole.endpoints, small.endpoints, strict=True):
        assert other.endpoint_key(theirs) == one_way.endpoint_key(mine)


def test_proxies_that_differ_in_nothing_mentioned_are_one() -> None:
    tags = {"kuma.io/service": "web"}
    first = _dataplane("d1", "10.0.0.1", {"app": "web"}, tags)
    second = _dataplane("d2", "10.0.0.2", {"app": "web"}, tags)
    third = _dataplane("d3", "10.0.0.3", {"app": "db"}, tags)
    reader = Recorder([first, second, third, _timeout("t", {"kind": "Dataplane", "labels": {"app": "web"}})])
    mentioned = mentions(reader, ordered_policies(reader, "MeshTimeout", "default"))
    small = [reduced(proxy_of(reader, item_of(dp)), mentioned) for dp in (first, second, third)]
    assert len(set(small)) == 2
    assert small[0] == small[1] != small[2]


def test_a_proxy_that_a_policy_names_stands_alone() -> None:
    first, second = (_dataplane(name, "10.0.0.1", {}, {"kuma.io/service": "web"}) for name in ("d1", "d2"))
    reader = Recorder([first, second, _timeout("t", {"kind": "Dataplane", "name": "d1"})])
    mentioned = mentions(reader, ordered_policies(reader, "MeshTimeout", "default"))
    assert len({reduced(proxy_of(reader, item_of(dp)), mentioned) for dp in (first, second)}) == 2
