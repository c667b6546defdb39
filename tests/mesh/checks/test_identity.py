"""Every message about MeshIdentity, MeshTrust and the small kinds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import GONE, Edit, edited, faults, only

PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
IDENTITY: dict[str, Any] = {
    "type": "MeshIdentity",
    "mesh": "default",
    "name": "identity",
    "spec": {
        "selector": {"dataplane": {"matchLabels": {}}},
        "spiffeID": {
            "trustDomain": "{{ .Mesh }}.{{ .Zone }}.mesh.local",
            "path": "/workload/{{ .Workload }}",
        },
        "provider": {"type": "Bundled", "bundled": {"autogenerate": {"enabled": True}}},
    },
}
TRUST: dict[str, Any] = {
    "type": "MeshTrust",
    "mesh": "default",
    "name": "trust",
    "spec": {"trustDomain": "zone.mesh.local", "caBundles": [{"type": "Pem", "pem": {"value": PEM}}]},
}
SOURCE = {"type": "Secret", "secretRef": {"kind": "Secret", "name": "s"}}
OWN_CA = edited(IDENTITY, ("spec.provider.bundled", {"ca": {"certificate": SOURCE, "privateKey": SOURCE}}))
ADDRESS = {"type": "MeshZoneAddress", "mesh": "m", "name": "a", "spec": {"address": "1.1.1.1", "port": 1}}
BACKEND = {
    "type": "MeshOpenTelemetryBackend",
    "mesh": "m",
    "name": "b",
    "spec": {"endpoint": {"address": "collector.example.com", "port": 4317, "path": "/v1"}},
}
BUNDLED = "spec.provider.bundled"


@pytest.mark.parametrize("document", [IDENTITY, OWN_CA, TRUST, ADDRESS, BACKEND])
def test_good_ones(document: dict[str, Any]) -> None:
    assert faults(document) == []


@pytest.mark.parametrize(
    ("document", "edit", "field", "reason"),
    [
        (IDENTITY, ("spec.provider", GONE), "spec.provider", "must be defined"),
        (IDENTITY, ("spec.provider.bundled", GONE), BUNDLED, "must be defined"),
        (IDENTITY, ("spec.provider.bundled", {}), f"{BUNDLED}.ca", "must be defined when autogenerate is not enabled"),
        (IDENTITY, ("spec.provider.bundled.ca", {}), f"{BUNDLED}.ca",
         "must not be defined when autogenerate is enabled"),
        (IDENTITY, ("spec.provider", {"type": "Extension"}), "spec.provider.extension", "must be defined"),
        (IDENTITY, ("spec.provider.bundled.certificateParameters", {"expiry": "0s"}),
         f"{BUNDLED}.certificateParameters.expiry", "must have a positive value"),
        (IDENTITY, ("spec.spiffeID.path", "workload"), "spec.spiffeID.path", "must start with /"),
        (IDENTITY, ("spec.spiffeID.path", "/{{ .Nothing }}"), "spec.spiffeID.path", "couldn't parse template"),
        (IDENTITY, ("spec.spiffeID.trustDomain", "_x_"), "spec.spiffeID.trustDomain",
         "must render to a valid domain name"),
        (OWN_CA, ("spec.provider.bundled.ca.privateKey", GONE), f"{BUNDLED}.ca.privateKey", "must be defined"),
        (OWN_CA, ("spec.provider.bundled.ca.certificate", {"type": "EnvVar"}), f"{BUNDLED}.ca.certificate.envVar",
         "must be defined"),
        (TRUST, ("spec.trustDomain", "a b"), "spec.trustDomain", "must be a valid domain name"),
        (TRUST, ("spec.caBundles.0.pem", GONE), "spec.caBundles[0].pem", "must be defined"),
        (TRUST, ("spec.caBundles.0.pem.value", "x"), "spec.caBundles[0].pem.value", "must be a PEM-encoded"),
        (ADDRESS, ("spec.address", "0.0.0.0"), "spec.address", "must not be 0.0.0.0 or ::"),
        (BACKEND, ("spec.endpoint.address", ""), "spec.endpoint.address", "address can't be empty"),
        (BACKEND, ("spec.endpoint.port", 0), "spec.endpoint.port", "port must be in the range [1, 65535]"),
        (BACKEND, ("spec.endpoint.path", "v1"), "spec.endpoint.path", "must start with /"),
    ],
)  # fmt: skip
def test_one_fault(document: dict[str, Any], edit: Edit, field: str, reason: str) -> None:
    (error,) = faults(edited(document, edit))
    assert error.field == field
    assert error.reason.startswith(reason)


def test_long_workload_names() -> None:
    found = faults({"type": "Workload", "mesh": "m", "name": "a" * 254, "spec": {}})
    assert ("name", "must not be longer than 253 characters") in found


def test_fields_of_the_schema_are_required() -> None:
    from mesh.errors import Invalid

    with pytest.raises(Invalid) as caught:
        faults(edited(TRUST, ("spec", {})))
    assert caught.value.errors == (
        *only("spec.caBundles", "in body is required"),
        *only("spec.trustDomain", "in body is required"),
    )
