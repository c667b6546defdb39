"""The parts of suite `api` that policies alone decide: rules, policies, routes and affected proxies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mesh.policy import documents
from mesh.resource import Resource
from tests.conformance.policy_cases import Score, Store, load, out_of_scope, suite_folder

_ACTION = re.compile(r"#(?P<path>/\S+) (?P<status>\d+)")


def _answers(folder: Path, score: Score, ending: str) -> Iterator[tuple[str, str, Store, Any]]:
    """Cases that answer 200 to a path with this ending: name, path, store, golden."""
    for given in sorted(folder.glob("**/*.input.yaml")):
        action = _ACTION.search(given.read_text())
        assert action, f"{given} does not begin with an action"
        path = action["path"].partition("?")[0]
        if action["status"] != "200" or not path.endswith(ending):
            continue
        if legacy := out_of_scope([given]):
            score.skip(legacy)
            continue
        golden = json.loads(Path(str(given).replace(".input.yaml", ".golden.json")).read_text())
        yield given.stem, path, Store(load(given)), golden


def _subject(store: Store, path: str, kind: str) -> Resource:
    _, _, mesh, _, name, *_ = path.split("/")
    found = store.get(kind, mesh, name)
    assert found is not None, f"{kind} {name} of mesh {mesh} is not in the case"
    return found


def test_rules_of_dataplanes() -> None:
    score = Score("api/dataplanes/_rules")
    for case, path, store, golden in _answers(suite_folder("api/inspect/dataplanes"), score, "/_rules"):
        score.check(case, documents.rules_document(store, _subject(store, path, "Dataplane")), golden)
    score.finish()


def test_rules_of_gateways() -> None:
    score = Score("api/meshgateways/_rules")
    for case, path, store, golden in _answers(suite_folder("api/inspect/meshgateways"), score, "/_rules"):
        score.check(
            case, documents.gateway_rules_document(store, _subject(store, path, "MeshGateway")), golden
        )
    score.finish()


def _policies(store: Store, path: str) -> dict[str, Any]:
    dataplane = _subject(store, path, "Dataplane")
    match path.split("/")[5:]:
        case ["_policies"]:
            return documents.policies_document(store, dataplane)
        case ["_inbounds", inbound, "_policies"]:
            return documents.inbound_policies_document(store, dataplane, inbound.rpartition("_")[2])
        case ["_outbounds", outbound, "_policies"]:
            return documents.outbound_policies_document(store, dataplane, outbound)
        case ["_outbounds", outbound, "_routes", route, "_policies"]:
            return documents.route_policies_document(store, dataplane, outbound, route)
        case other:
            raise AssertionError(f"unknown path {other}")


def test_policies_of_dataplanes() -> None:
    score = Score("api/dataplanes/_policies")
    for case, path, store, golden in _answers(suite_folder("api/inspect/dataplanes"), score, "/_policies"):
        score.check(case, _policies(store, path), golden)
    score.finish()


def test_routes_of_outbounds() -> None:
    score = Score("api/dataplanes/_routes")
    for case, path, store, golden in _answers(
        suite_folder("api/inspect/dataplanes/_routes"), score, "/_routes"
    ):
        dataplane = _subject(store, path, "Dataplane")
        score.check(case, documents.routes_document(store, dataplane, path.split("/")[6]), golden)
    score.finish()


_KINDS = {"meshtimeouts": "MeshTimeout", "meshtrafficpermissions": "MeshTrafficPermission"}


def test_affected_dataplanes() -> None:
    score = Score("api/policies/_resources/dataplanes")
    folder = suite_folder("api/inspect/policies")
    for case, path, store, golden in _answers(folder, score, "/_resources/dataplanes"):
        if case.startswith("pagination"):
            continue  # pages are cut by the HTTP API, not here
        policy = _subject(store, path, _KINDS[path.split("/")[3]])
        found = documents.selected_dataplanes(store, policy)
        got = [documents.meta_json(documents.item_of(dataplane).meta) for dataplane in found]
        score.check(case, {"items": got, "total": len(got)}, golden)
    score.finish()
