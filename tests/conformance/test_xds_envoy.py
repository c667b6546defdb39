"""What we make of every conformance input that has proxies is accepted by a real Envoy.

One Envoy, in a network of its own where any address is local, is given one configuration after the other
over delta ADS. What it refuses is told with the case that it came from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cp.ca.x509 import Authority, Pair, new_authority
from mesh.registry import KINDS as MESH_KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import View
from tests.conformance.cases import read_documents
from tests.conformance.policy_cases import load, suite_folder, written_in_zone
from tests.conformance.test_xds import cases
from tests.conformance.xds_worlds import ZONE, features, worlds
from tests.xds.config import worlds as documents_of
from tests.xds.config.test_remote import ingress
from tests.xds.holder import NOTHING, Issued, Snapshots, envoy
from xds.config.source import Source
from xds.source import NodeInfo

pytestmark = [pytest.mark.envoy, pytest.mark.process]

# Cases whose golden Envoy refuses: `%%KUMA_DESTINATION_SERVICE%%` has become `%test-server%`, no command.
REFUSED = ("sidecars/meshaccesslog/outbound.",)
PROXIES = {"Dataplane": "", "ZoneIngress": "ingress", "ZoneEgress": "egress"}


class Given(NamedTuple):
    """A proxy of a case, and the resources among which it is."""

    case: str
    resources: tuple[Resource, ...]
    node: NodeInfo
    shadow: bool = False


# --- inputs ----------------------------------------------------------------------------------------


def given(pair: Pair) -> Iterator[Given]:
    """The proxies of all suites. pair: the authority of meshes that bring none of their own."""
    yield from of_xds(pair)
    yield from of_matchers()
    yield from of_api()
    yield of_failover()


def of_xds(pair: Pair) -> Iterator[Given]:
    folder = suite_folder("xds")
    for part, world in worlds().items():
        documents = json.loads(json.dumps(list(world.documents)))
        for document in documents:
            if document["type"] == "MeshTrust":
                document["spec"]["caBundles"][0]["pem"]["value"] = pair.certificate.decode()
        for case in cases(folder / part):
            added = read_documents(case.given.read_text())
            names = {(document["type"], document["name"]) for document in added}
            kept = [found for found in documents if (found["type"], found["name"]) not in names]
            found = tuple(documents_of.resource(document, ZONE) for document in [*kept, *added])
            for proxy in world.proxies:
                metadata = {"features": features(proxy)}
                node = NodeInfo(f"{world.mesh}.{proxy}", metadata=metadata)
                yield Given(f"{case.name}.{proxy}", found, node, True)


def of_matchers() -> Iterator[Given]:
    for path in sorted(suite_folder("matchers").rglob("*.policies.yaml")):
        stem = path.name.removesuffix(".policies.yaml")
        parts = [
            part for part in path.parent.glob(f"{stem}.*.yaml") if not part.name.endswith(".golden.yaml")
        ]
        resources = [found for part in sorted(parts) for found in load(part)]
        yield from of_resources(str(path), [written_in_zone(found, "zone-uni") for found in resources])


def of_api() -> Iterator[Given]:
    for path in sorted(suite_folder("api").rglob("*.input.yaml")):
        documents = [found for found in yaml.safe_load_all(path.read_text()) if found]
        if any(found.get("type") in PROXIES for found in documents):
            yield from of_resources(str(path), load(path))


def of_failover() -> Given:
    """Endpoints whose priorities do not begin at 0, as no case has them: Envoy takes such gaps."""
    rules = [{"to": {"type": "Only", "zones": [zone]}} for zone in ("nowhere", "neither", "far")]
    to = {
        "targetRef": {"kind": "Mesh"},
        "default": {"localityAwareness": {"crossZone": {"failover": rules}}},
    }
    outbound = [{"port": 10001, "tags": {"kuma.io/service": "api"}}]
    documents = [
        documents_of.mesh(mtls=documents_of.MTLS),
        documents_of.dataplane("web", 8080, networking={"outbound": outbound}),
        documents_of.policy("MeshLoadBalancingStrategy", "mlbs", to=[to]),
        ingress("zi-1"),
    ]
    found = tuple(documents_of.resource(document, ZONE) for document in documents)
    return Given("failover", found, NodeInfo("default.web", metadata={}))


def of_resources(case: str, resources: Iterable[Resource]) -> Iterator[Given]:
    """The proxies among resources; meshes that are not among them are added."""
    by_key = {found.key: found for found in resources if found.kind in MESH_KINDS}
    for mesh in {key[1] for key in by_key if key[1]}:
        by_key.setdefault(ResourceKey("Mesh", "", mesh), documents_of.resource(documents_of.mesh(mesh)))
    found = tuple(by_key.values())
    for kind, mesh, name in by_key:
        if kind in PROXIES:
            metadata = {"dataplane.proxyType": PROXIES[kind]} if PROXIES[kind] else {}
            yield Given(f"{case}: {mesh}.{name}", found, NodeInfo(f"{mesh}.{name}", metadata=metadata))


def snapshot(found: Given, issued: Issued) -> Snapshots | None:
    """What a proxy gets; None for a proxy that gets nothing."""
    source = Source(View.of(found.resources, 1), identities=issued, zone=ZONE, shadow=found.shadow)
    stream = source.connect(found.node, lambda deltas: None)
    assert not source.failures, f"{found.case}: {source.failures}"
    state = stream.snapshot()
    return None if state is None else {type_url: dict(names) for type_url, names in state.items()}


async def test_a_real_envoy_accepts_what_we_make_of_every_input(tmp_path: Path) -> None:
    now = time.time()
    pair = new_authority("conformance", now, 86400.0, key_type="ecdsa")
    leaf = Authority(pair).issue(now, 3600.0, uris=["spiffe://default/any"])
    issued = Issued(leaf.pair, pair.certificate)
    failed: list[str] = []
    count = resources = 0
    before: Mapping[str, Any] = {}
    async with envoy(tmp_path) as rig:
        for found in given(pair):
            state = snapshot(found, issued)
            if state is None:
                continue
            count += 1
            resources += sum(len(names) for names in state.values())
            if found.node.metadata != before:  # Another proxy, so to speak; some fields are for life.
                await rig.faults(NOTHING)
                before = found.node.metadata
            faults = await rig.faults(state)
            if any(found.case.startswith(name) for name in REFUSED) == (not faults):
                failed.append(f"{found.case}: {'; '.join(faults) or 'accepted, though known to be wrong'}")
            if rig.judge.refused:  # Begin anew, so that one failure is told once.
                await rig.faults(NOTHING)
    log = (tmp_path / "envoy.log").read_text()[-4000:]
    print(f"\nenvoy: accepted {count - len(failed)} of {count} configurations, {resources} resources")
    assert count > 0 and not failed, "\n".join([*failed, log])
