"""A plan as lines: what a person reads before anything is written."""

from __future__ import annotations

from typing import Any

from cp.cli.plan import IMPLIED_SHOWN_MAX, proxy_lines, results_lines


def deleted(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "Secret", "mesh": "m", "name": name, "outcome": "deleted", **more}


def test_of_what_follows_by_itself_the_first_are_named() -> None:
    implied = [deleted(f"s{n}", implied=True) for n in range(IMPLIED_SHOWN_MAX + 5)]
    lines = list(results_lines([deleted("a"), *implied, deleted("z")]))
    assert lines[:2] == [
        'delete Secret "a" in mesh "m"',
        'delete Secret "s0" in mesh "m", by what stands above',
    ]
    assert lines[-2:] == ['delete Secret "z" in mesh "m"', "and 5 more, by what stands above"]
    assert len(lines) == IMPLIED_SHOWN_MAX + 3
    few = list(results_lines(implied[:IMPLIED_SHOWN_MAX]))
    assert len(few) == IMPLIED_SHOWN_MAX and not few[-1].startswith("and")


def test_proxies_are_told_with_their_resources_and_how_many_are_not_named() -> None:
    cluster = {
        "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "backend",
        "op": "change",
    }
    changed = {"mesh": "default", "name": "web", "op": "change", "resources": [cluster], "resourcesTotal": 3}
    gone = {"mesh": "default", "name": "old", "op": "remove", "resourcesTotal": 9}
    assert list(proxy_lines({"proxies": [changed, gone], "proxiesTotal": 4})) == [
        "4 proxies would change:",
        "    default/web: ~ Cluster backend, and 2 more",
        "    default/old: remove, with 9 resources",
        "    and 2 more",
    ]
    assert list(proxy_lines({"proxies": [], "proxiesTotal": 0, "proxiesReason": "asked not to"})) == [
        "not told of proxies: asked not to"
    ]
