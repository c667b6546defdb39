"""Every message about a ZoneIngress and a ZoneEgress."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import GONE, Edit, edited, faults, only

INGRESS: dict[str, Any] = {
    "type": "ZoneIngress",
    "name": "zi-1",
    "networking": {
        "address": "192.168.0.1",
        "port": 10001,
        "advertisedAddress": "10.0.0.1",
        "advertisedPort": 20001,
        "admin": {"port": 9901},
    },
    "availableServices": [
        {"mesh": "default", "instances": 2, "tags": {"kuma.io/service": "web", "version": "1"}}
    ],
}
EGRESS: dict[str, Any] = {
    "type": "ZoneEgress",
    "name": "ze-1",
    "networking": {"address": "127.0.0.1", "port": 10002, "admin": {"port": 9901}},
}
PORT = "port must be in the range [1, 65535]"
TAGS = "availableService[0].tags"


@pytest.mark.parametrize("document", [INGRESS, EGRESS, edited(INGRESS, ("networking.address", "0.0.0.0"))])
def test_good_ones(document: dict[str, Any]) -> None:
    assert faults(document) == []


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("networking", GONE), "networking", "must be defined"),
        (("networking.port", 0), "networking.port", PORT),
        (("networking.advertisedPort", 65536), "networking.advertisedPort", PORT),
        (
            ("networking.advertisedPort", GONE),
            "networking.advertisedAddress",
            "has to be defined with advertisedPort",
        ),
        (
            ("networking.advertisedAddress", GONE),
            "networking.advertisedPort",
            "has to be defined with advertisedAddress",
        ),
        (
            ("networking.advertisedAddress", "..>_<.."),
            "networking.advertisedAddress.address",
            "address has to be valid IP address or domain name",
        ),
        (
            ("networking.address", "?"),
            "networking.address",
            "address has to be valid IP address or domain name",
        ),
        (("availableServices.0.tags", {"v": "1"}), TAGS, 'mandatory tag "kuma.io/service" is missing'),
        (
            ("availableServices.0.tags", {"kuma.io/service": ""}),
            f'{TAGS}["kuma.io/service"]',
            "tag value must be non-empty",
        ),
        (("availableServices.0.tags.version", ""), f'{TAGS}["version"]', "tag value must be non-empty"),
    ],
)
def test_faults_of_an_ingress(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(INGRESS, edit)) == only(field, reason)


@pytest.mark.parametrize("document", [INGRESS, EGRESS])
def test_the_admin_port_of_a_local_address_is_its_own(document: dict[str, Any]) -> None:
    local = edited(document, ("networking.address", "127.0.0.1"), ("networking.port", 9901))
    assert faults(local) == only("networking.admin.port", "must differ from port")


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("networking", GONE), "networking", "must be defined"),
        (("networking.port", 0), "networking.port", PORT),
    ],
)
def test_faults_of_an_egress(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(EGRESS, edit)) == only(field, reason)
