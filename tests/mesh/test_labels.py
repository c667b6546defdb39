"""Labels that the control plane writes, and what it answers to those that it would not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh import labels
from mesh.codec import decode
from mesh.errors import BadRequest, FieldError, invalid_problem
from mesh.resource import Resource

_CASES = Path(
    os.environ.get("RAFTMESH_CONFORMANCE", Path(__file__).parents[2] / "../shared/conformance/cases")
)
_FOLDER = _CASES / "labels"
_ZONE = "kuma-4"

EXTERNAL = {"type": "MeshExternalService", "mesh": "m", "name": "e", "spec": {"match": {"port": 80}}}


def resource(document: dict[str, Any], given: dict[str, str] | None = None) -> Resource:
    return decode({**document, "labels": given or {}})


def in_zone(item: Resource, previous: Resource | None = None, *, federated: bool = False) -> Any:
    return labels.compute(item, mode="zone", zone="z1", federated=federated, previous=previous)


@pytest.mark.skipif(not _FOLDER.is_dir(), reason=f"no conformance cases: {_FOLDER} is not a folder")
def test_conformance_cases() -> None:
    """Each resource against the whole HTTP answer that it gets."""
    passed, failed = 0, []
    for golden in sorted(_FOLDER.glob("*.golden.yaml")):
        source = golden.with_name(golden.name.replace(".golden.", ".input."))
        answer = answer_to(yaml.safe_load(source.read_text()), "global" if golden.name[0] == "g" else "zone")
        if answer.strip() == golden.read_text().strip():
            passed += 1
        else:
            failed.append(golden.name)
    print(f"labels: passed {passed} of {passed + len(failed)}")
    assert passed
    assert not failed


def answer_to(document: dict[str, Any], mode: labels.Mode) -> str:
    federated = mode == "zone"
    _, errors = labels.compute(decode(document), mode=mode, zone=_ZONE, federated=federated)
    if not errors:
        return "HTTP/1.1 201 Created\n\n{}"
    body = invalid_problem("Could not process a resource", errors)
    return "HTTP/1.1 400 Bad Request\n\n" + json.dumps(body, indent=1)


def test_a_zone_stamps_what_it_may_write() -> None:
    computed, errors = in_zone(resource(EXTERNAL, {"team": "a"}))
    assert errors == []
    assert computed == {
        "kuma.io/mesh": "m",
        "kuma.io/origin": "zone",
        "kuma.io/zone": "z1",
        "kuma.io/env": "universal",
        "team": "a",
    }


def test_kinds_of_global_are_not_stamped_in_a_zone() -> None:
    computed, _ = in_zone(resource({"type": "Mesh", "name": "m"}))
    assert computed == {}


def test_global_stamps_its_origin() -> None:
    computed, errors = labels.compute(resource(EXTERNAL), mode="global", zone="", federated=False)
    assert (computed, errors) == ({"kuma.io/mesh": "m", "kuma.io/origin": "global"}, [])


def test_what_is_labelled_global_is_not_located() -> None:
    computed, errors = in_zone(resource(EXTERNAL, {"kuma.io/origin": "global"}))
    assert errors == []
    assert "kuma.io/zone" not in computed


def test_origin_zone_and_display_name_never_change() -> None:
    stored = resource(EXTERNAL, {"kuma.io/origin": "zone", "kuma.io/zone": "z1", "kuma.io/display-name": "a"})
    now = resource(EXTERNAL, {"kuma.io/origin": "global", "kuma.io/display-name": "b"})
    _, errors = in_zone(now, stored)
    assert errors == [
        FieldError('labels["kuma.io/origin"]', 'is immutable, cannot be changed from "zone" to "global"'),
        FieldError('labels["kuma.io/zone"]', 'is immutable, cannot be removed (was "z1")'),
        FieldError('labels["kuma.io/display-name"]', 'is immutable, cannot be changed from "a" to "b"'),
    ]


def test_labels_may_be_added_to_what_had_none() -> None:
    assert in_zone(resource(EXTERNAL), resource(EXTERNAL))[1] == []


@pytest.mark.parametrize(
    ("label", "value", "reason"),
    [
        ("kuma.io/zone", "z2", "kuma.io/zone label should have z1 value"),
        ("kuma.io/mesh", "x", "kuma.io/mesh label must not differ from mesh set on resource"),
        ("kuma.io/env", "kubernetes", "kuma.io/env label should have universal value"),
        ("kuma.io/policy-role", "producer", "kuma.io/policy-role label should have system value"),
    ],
)
def test_a_zone_refuses_claims_that_are_not_true(label: str, value: str, reason: str) -> None:
    policy = {"type": "MeshTimeout", "mesh": "m", "name": "t", "spec": {}}
    _, errors = in_zone(resource(policy, {label: value}))
    assert errors == [FieldError(f'labels["{label}"]', reason)]


def test_origin_is_required_of_a_federated_zone_unless_switched_off() -> None:
    required = [FieldError('labels["kuma.io/origin"]', "the origin label must be set to 'zone'")]
    assert in_zone(resource(EXTERNAL), federated=True)[1] == required
    assert in_zone(resource({"type": "Secret", "name": "s"}), federated=True)[1] == []
    free = labels.check(resource(EXTERNAL), mode="zone", zone="z1", federated=True, origin_required=False)
    assert free == []


def test_only_the_origin_deletes() -> None:
    own, foreign = (resource(EXTERNAL, {"kuma.io/origin": origin}) for origin in ("zone", "global"))
    assert labels.check_delete(own, mode="zone", federated=True) == []
    assert labels.check_delete(foreign, mode="zone", federated=True)
    assert labels.check_delete(own, mode="global", federated=False)
    assert labels.check_delete(foreign, mode="global", federated=False) == []
    assert labels.check_delete(foreign, mode="zone", federated=False) == []


def test_a_workload_is_a_dns_label() -> None:
    proxy = {"type": "Dataplane", "name": "dp", "networking": {"address": "1.1.1.1"}}
    assert in_zone(resource(proxy, {"kuma.io/workload": "my-workload"}))[1] == []
    for name in ("MyWorkload", "1workload", "a" * 64):
        with pytest.raises(
            BadRequest, match=r'bad request: labels\["kuma.io/workload"\]: must be a valid DNS-1035'
        ):
            in_zone(resource(proxy, {"kuma.io/workload": name}))


@pytest.mark.parametrize(
    ("networking", "expected"),
    [
        ({}, {"kuma.io/proxy-type": "sidecar"}),
        ({"gateway": {"type": "BUILTIN"}}, {"kuma.io/proxy-type": "gateway"}),
        (
            {"listeners": [{"type": "ZoneEgress"}, {"type": "ZoneIngress"}]},
            {
                "kuma.io/proxy-type": "sidecar",
                "kuma.io/listener-zoneegress": "enabled",
                "kuma.io/listener-zoneingress": "enabled",
            },
        ),
    ],
)
def test_a_proxy_is_labelled_by_what_it_is(networking: dict[str, Any], expected: dict[str, str]) -> None:
    proxy = {"type": "Dataplane", "name": "dp", "networking": networking}
    computed, _ = in_zone(resource(proxy))
    assert expected.items() <= computed.items()
    assert sum("listener" in key for key in computed) == len(expected) - 1
