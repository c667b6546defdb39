"""Every message about MeshService, MeshMultiZoneService and MeshExternalService."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.validate import warnings
from tests.mesh.checks.documents import Edit, edited, faults, only

SERVICE: dict[str, Any] = {
    "type": "MeshService",
    "mesh": "default",
    "name": "web",
    "spec": {"selector": {"dataplaneTags": {"app": "web"}}, "ports": [{"port": 80, "targetPort": "main"}]},
}
MULTI_ZONE: dict[str, Any] = {
    "type": "MeshMultiZoneService",
    "mesh": "default",
    "name": "web",
    "spec": {"selector": {"meshService": {"matchLabels": {"app": "web"}}}, "ports": [{"port": 80}]},
}
EXTERNAL: dict[str, Any] = {
    "type": "MeshExternalService",
    "mesh": "default",
    "name": "ext",
    "spec": {"match": {"port": 80}, "endpoints": [{"address": "example.com", "port": 80}]},
}
PROTOCOL = "appProtocol must be one of: grpc, http, http2, kafka, tcp"


@pytest.mark.parametrize("document", [SERVICE, MULTI_ZONE, EXTERNAL])
def test_good_ones(document: dict[str, Any]) -> None:
    assert faults(document) == []


@pytest.mark.parametrize(
    ("document", "edit", "field", "reason"),
    [
        (SERVICE, ("name", "a" * 64), "name", "must not be longer than 63 characters"),
        (SERVICE, ("spec.selector.dataplaneRef", {"name": "a"}), "spec.selector",
         "must specify only one of: dataplaneTags, dataplaneRef, or dataplaneLabels"),
        (SERVICE, ("spec.ports.0.port", 0), "spec.ports[0].port", "port must be in the range [1, 65535]"),
        (SERVICE, ("spec.ports.0.appProtocol", "x"), "spec.ports[0].appProtocol", PROTOCOL),
        (MULTI_ZONE, ("spec.selector.meshService", {}), "spec.selector.meshService.matchLabels", "cannot be empty"),
        (MULTI_ZONE, ("spec.ports", []), "spec.ports", "cannot be empty"),
        (MULTI_ZONE, ("spec.ports.0.name", ""), "spec.ports[0].name", "must not be empty"),
        (MULTI_ZONE, ("spec.ports.0.appProtocol", "x"), "spec.ports[0].appProtocol", PROTOCOL),
        (EXTERNAL, ("spec.extension", {"type": ""}), "spec.extension.type", "must not be empty"),
        (EXTERNAL, ("spec.endpoints.0.address", "no name"), "spec.endpoints[0].address",
         "has to be a valid IP address, DNS name or path of a Unix socket"),
        (EXTERNAL, ("spec.tls", {"version": {"min": "TLS13", "max": "TLS10"}}), "spec.tls.version",
         "min version must be lower than max"),
        (EXTERNAL, ("spec.tls", {"verification": {"clientCert": {"secret": "a"}}}), "spec.tls.verification.clientKey",
         "clientCert and clientKey have to be set together"),
        (EXTERNAL, ("spec.tls", {"verification": {"caCert": {}}}), "spec.tls.verification.caCert",
         "exactly one of secret, inline and inlineString has to be set"),
        (EXTERNAL, ("spec.tls", {"verification": {"mode": "SkipAll", "subjectAltNames": [{"value": "a"}]}}),
         "spec.tls.verification.subjectAltNames", "must not be set when mode is SkipAll"),
    ],
)  # fmt: skip
def test_one_fault(document: dict[str, Any], edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(document, edit)) == only(field, reason)


@pytest.mark.parametrize("address", ["1.2.3.4", "::1", "unix:///var/run/a.sock", "/var/run/a.sock", "a.b"])
def test_addresses_of_external_services(address: str) -> None:
    assert faults(edited(EXTERNAL, ("spec.endpoints.0.address", address))) == []


def test_names_that_do_not_fit_into_server_names_are_deprecated() -> None:
    assert warnings(decode(EXTERNAL)) == []
    found = warnings(decode({**EXTERNAL, "name": "mes.http"}))
    assert found == [
        "Invalid MeshExternalService resource name: 'mes.http'. It does not conform to the DNS format (RFC 1035). "
        "This is deprecated. Errors: a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
        "start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
        "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        'Invalid MeshExternalService SNI (port "80"): name "mes.http" does not conform to RFC 1123: must not contain '
        "dots. This is deprecated.",
    ]
