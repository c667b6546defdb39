"""Every message about a MeshGateway."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import GONE, Edit, edited, faults, only

GOOD: dict[str, Any] = {
    "type": "MeshGateway",
    "mesh": "default",
    "name": "edge",
    "selectors": [{"match": {"kuma.io/service": "gateway"}}],
    "tags": {"product": "edge"},
    "conf": {
        "listeners": [
            {
                "hostname": "www-1.example.com",
                "port": 443,
                "protocol": "HTTPS",
                "tls": {"mode": "TERMINATE", "certificates": [{"secret": "cert"}]},
                "tags": {"name": "https"},
            },
            {"hostname": "*.example.com", "port": 80, "protocol": "HTTP"},
        ]
    },
}
FIRST = "conf.listeners[0]"


def test_a_good_one() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("selectors", []), "selectors", "must have at least one element"),
        (("selectors.1", {"match": {"a": "b"}}), "selectors[1]", "there can be at most one selector"),
        (
            ("tags", {"kuma.io/service": "x"}),
            'tags["kuma.io/service"]',
            'tag name must not be "kuma.io/service"',
        ),
        (("conf", GONE), "conf", "cannot be empty"),
        (("conf.listeners", []), "conf.listeners", "cannot be empty"),
        (("conf.listeners.0.port", 0), f"{FIRST}.port", "port must be in the range [1, 65535]"),
        (("conf.listeners.1.protocol", GONE), "conf.listeners[1].protocol", "cannot be empty"),
        (
            ("conf.listeners.0.tls.certificates", []),
            f"{FIRST}.tls.certificates",
            "cannot be empty in TLS termination mode",
        ),
        (("conf.listeners.0.tls.mode", GONE), f"{FIRST}.tls.mode", "cannot be empty"),
        (("conf.listeners.0.hostname", "foo.*.example.com"), f"{FIRST}.hostname", "invalid wildcard domain"),
        (("conf.listeners.0.hostname", "foo.example$.com"), f"{FIRST}.hostname", "invalid hostname"),
        (
            ("conf.listeners.0.hostname", "a." * 127 + "com"),
            f"{FIRST}.hostname",
            "must be at most 253 characters",
        ),
        (
            ("conf.listeners.0", {"port": 1, "protocol": "TCP", "crossMesh": True}),
            f"{FIRST}.protocol",
            "protocol is not supported with crossMesh",
        ),
        (
            ("conf.listeners.0.tls", {"mode": "PASSTHROUGH"}),
            f"{FIRST}.tls.mode",
            "mode is not supported on HTTPS listeners",
        ),
        (
            ("conf.listeners.1", {"port": 443, "protocol": "HTTP"}),
            "conf.listeners[1]",
            "protocol conflicts with other listeners on this port",
        ),
        (
            ("conf.listeners.2", {"hostname": "*.example.com", "port": 80, "protocol": "HTTP"}),
            "conf.listeners[2]",
            "multiple listeners for hostname on this port",
        ),
    ],
)
def test_one_fault(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(GOOD, edit)) == only(field, reason)


def test_connection_limits_of_a_port_agree() -> None:
    def listener(host: str, limit: int) -> dict[str, Any]:
        return {"hostname": host, "port": 99, "protocol": "HTTP", "resources": {"connectionLimit": limit}}

    found = faults(edited(GOOD, ("conf.listeners", [listener("a.com", 1), listener("b.com", 2)])))
    field = "resources.connectionLimit"
    message = "conflicting values for this port"
    assert found == [(f"{FIRST}.{field}", message), (f"conf.listeners[1].{field}", message)]
