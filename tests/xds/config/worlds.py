"""Meshes for tests: resources as documents, views of them, and snapshots as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mesh.codec import decode
from mesh.labels import compute
from mesh.resource import Resource
from mesh.stamp import stamp_zone
from mesh.view import View
from tests.xds.config.collected import keep
from xds import proto
from xds.source import NodeInfo
from xds.types import Snapshot

Json = dict[str, Any]


def resource(document: Mapping[str, Any], zone: str = "") -> Resource:
    """A resource as the control plane of a zone stores it, with the labels that it computes."""
    found = decode(document)
    if "kuma.io/zone" in found.labels:
        return found  # a copy from elsewhere, stored as it came
    labels, faults = compute(found, mode="zone", zone=zone, federated=False)
    assert not faults, faults
    if not zone:
        labels.pop("kuma.io/zone", None)
    return stamp_zone(replace(found, labels=labels), zone)


def view_of(documents: Iterable[Mapping[str, Any]], zone: str = "", index: int = 1) -> View:
    """A view that holds these documents."""
    return View.of((resource(document, zone) for document in documents), index)


def mesh(name: str = "default", **settings: Any) -> Json:
    return {"type": "Mesh", "name": name, **settings}


MTLS: Json = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}


def dataplane(
    name: str, port: int = 80, *, mesh: str = "default", address: str = "192.168.0.1", **more: Any
) -> Json:
    """A Dataplane with one inbound. more: `service`, `tags`, `service_port`, `networking`."""
    service = more.get("service", name)
    tags = {"kuma.io/service": service, **more.get("tags", {})}
    inbound = {"port": port, "tags": tags}
    if "service_port" in more:
        inbound["servicePort"] = more["service_port"]
    networking = {"address": address, "inbound": [inbound], **more.get("networking", {})}
    return {"type": "Dataplane", "mesh": mesh, "name": name, "networking": networking}


def mesh_service(
    name: str, port: int = 80, protocol: str = "http", *, mesh: str = "default", vip: str = "", **spec: Any
) -> Json:
    """A MeshService that selects the inbounds of the service of that name."""
    document: Json = {"type": "MeshService", "mesh": mesh, "name": name}
    document["spec"] = {
        "state": "Available",
        "selector": {"dataplaneTags": {"kuma.io/service": name}},
        "ports": [{"port": port, "targetPort": port, "appProtocol": protocol}],
        "identities": [{"type": "ServiceTag", "value": name}],
        **spec,
    }
    if vip:
        document["status"] = {"vips": [{"ip": vip}]}
    return document


def policy(kind: str, name: str, *, mesh: str = "default", **spec: Any) -> Json:
    """A policy; `from_` stands for `from`."""
    if "from_" in spec:
        spec["from"] = spec.pop("from_")
    return {"type": kind, "mesh": mesh, "name": name, "spec": spec}


TRANSPARENT: Json = {"transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}}


def node(name: str, *, mesh: str = "default", **metadata: Any) -> NodeInfo:
    return NodeInfo(id=f"{mesh}.{name}", metadata=metadata)


def rendered(snapshot: Snapshot | None) -> Json:
    """A snapshot as the JSON that `_config` shows: type URL without prefix -> name -> resource."""
    assert snapshot is not None
    keep(snapshot)
    result: Json = {}
    for type_url, resources in snapshot.items():
        for name in resources:
            message = proto.parse(proto.msg_of_url(type_url), resources[name].body)
            result.setdefault(type_url, {})[name] = proto.to_json(message)
    return result
