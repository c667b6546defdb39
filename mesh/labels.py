"""The labels that the control plane itself writes, and the rules for those that it did not.

A control plane stamps what is written through it: where it was written (`kuma.io/origin`,
`kuma.io/zone`), in which mesh and environment.  KDS and policies decide by these labels, so three of
them never change after creation, and none may be claimed by a writer to whom it does not belong.

The steps of a write, each with its own answer: `check` ("Could not process a resource"), then
`compute` and `immutability` ("Could not create/update a resource").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from mesh.dnsnames import NOT_A_1035_LABEL, is_1035_label, label_key_faults, label_value_faults
from mesh.errors import BadRequest, FieldError
from mesh.registry import KINDS
from mesh.resource import DISPLAY_NAME, ENV, MESH, ORIGIN, POLICY_ROLE, WORKLOAD, ZONE, Resource

Mode = Literal["zone", "global"]

PROXY_TYPE = "kuma.io/proxy-type"
ZONE_INGRESS_LISTENER = "kuma.io/listener-zoneingress"
ZONE_EGRESS_LISTENER = "kuma.io/listener-zoneegress"
_ENVIRONMENT = "universal"
_IMMUTABLE = (ORIGIN, ZONE, DISPLAY_NAME)
_NOT_A_WORKLOAD = (
    "must be a valid DNS-1035 label (at most 63 characters, matching regex "
    f"[a-z]([-a-z0-9]*[a-z0-9])?): {NOT_A_1035_LABEL}"
)


def _field(label: str) -> str:
    return f'labels["{label}"]'


def check(
    resource: Resource, *, mode: Mode, zone: str, federated: bool, origin_required: bool = True
) -> list[FieldError]:
    """Faults of the labels as they were sent.

    zone: name of the local zone, unused on Global. federated: the zone has a Global above it.
    origin_required: off for `multizone.zone.disableOriginLabelValidation`.

    Raises BadRequest for a workload label that is no DNS label, which is answered as such.
    """
    workload = resource.labels.get(WORKLOAD)
    if resource.kind == "Dataplane" and workload is not None and not is_1035_label(workload):
        raise BadRequest(f"bad request: {_field(WORKLOAD)}: {_NOT_A_WORKLOAD}")
    errors = list(_origin(resource, mode, federated and origin_required))
    if mode == "zone":
        errors += _location(resource, zone)
    errors += _well_formed(resource.labels)
    return errors


def check_delete(
    resource: Resource, *, mode: Mode, federated: bool, origin_required: bool = True
) -> list[FieldError]:
    """Faults that forbid to delete a stored resource here: only its origin may delete it."""
    if not KINDS[resource.kind].wrapped:
        return []
    if mode == "global" and resource.origin == "zone":
        return [FieldError(_field(ORIGIN), "the origin label must be set to 'global'")]
    if mode == "zone" and federated and origin_required and resource.origin != "zone":
        return [FieldError(_field(ORIGIN), "the origin label must be set to 'zone'")]
    return []


def _origin(resource: Resource, mode: Mode, required: bool) -> Iterator[FieldError]:
    origin = resource.labels.get(ORIGIN)
    if origin is not None and origin not in ("global", "zone"):
        yield FieldError(_field(ORIGIN), f'unknown resource origin "{origin}"')
    if mode == "global":
        if origin is not None and origin != "global":
            yield FieldError(_field(ORIGIN), "the origin label must be set to 'global'")
    elif required and KINDS[resource.kind].wrapped and origin != "zone":
        yield FieldError(_field(ORIGIN), "the origin label must be set to 'zone'")


def _location(resource: Resource, zone: str) -> Iterator[FieldError]:
    labels = resource.labels
    if resource.mesh and labels.get(MESH, resource.mesh) != resource.mesh:
        yield FieldError(_field(MESH), "kuma.io/mesh label must not differ from mesh set on resource")
    expected = {ZONE: zone, ENV: _ENVIRONMENT}
    if KINDS[resource.kind].is_policy:
        expected[POLICY_ROLE] = "system"
    for label, value in expected.items():
        if labels.get(label, value) != value:
            yield FieldError(_field(label), f"{label} label should have {value} value")


def _well_formed(labels: Mapping[str, str]) -> Iterator[FieldError]:
    for label in sorted(labels):
        for fault in label_key_faults(label):
            yield FieldError(_field(label), fault)
        for fault in label_value_faults(labels[label]):
            yield FieldError(_field(label), fault)


def compute(
    resource: Resource,
    *,
    mode: Mode,
    zone: str,
    federated: bool,
    previous: Resource | None = None,
    origin_required: bool = True,
) -> tuple[dict[str, str], list[FieldError]]:
    """The labels to store, and every fault of those that were sent.

    Faults are those of `check`, or, when it finds none, those of `immutability` against `previous`,
    the stored resource. Raises BadRequest as `check` does.
    """
    labels = _computed(resource, mode, zone)
    errors = check(resource, mode=mode, zone=zone, federated=federated, origin_required=origin_required)
    if not errors and previous is not None:
        errors = immutability(previous.labels, labels)
    return labels, errors


def _computed(resource: Resource, mode: Mode, zone: str) -> dict[str, str]:
    kind = KINDS[resource.kind]
    labels = dict(resource.labels)
    if kind.scope == "mesh":
        labels.setdefault(MESH, resource.mesh)
    if mode == "global":
        labels.setdefault(ORIGIN, "global")
    elif kind.writable_on_zone and labels.setdefault(ORIGIN, "zone") == "zone":
        labels.setdefault(ZONE, zone)
        labels.setdefault(ENV, _ENVIRONMENT)
    if resource.kind == "Dataplane":
        labels |= _of_proxy(resource)
    return labels


def _of_proxy(dataplane: Resource) -> dict[str, str]:
    """What policies select proxies by, beyond what their owner wrote."""
    networking = dataplane.spec.networking
    if networking is None:
        return {}
    labels = {PROXY_TYPE: "gateway" if networking.gateway is not None else "sidecar"}
    for listener in networking.listeners:
        if listener.type == "ZoneIngress":
            labels[ZONE_INGRESS_LISTENER] = "enabled"
        elif listener.type == "ZoneEgress":
            labels[ZONE_EGRESS_LISTENER] = "enabled"
    return labels


def immutability(previous: Mapping[str, str], labels: Mapping[str, str]) -> list[FieldError]:
    """Faults of changing stored labels that never change."""
    errors = []
    for label in _IMMUTABLE:
        was, now = previous.get(label), labels.get(label)
        if was is None or was == now:
            continue
        if now is None:
            errors.append(FieldError(_field(label), f'is immutable, cannot be removed (was "{was}")'))
        else:
            errors.append(
                FieldError(_field(label), f'is immutable, cannot be changed from "{was}" to "{now}"')
            )
    return errors
