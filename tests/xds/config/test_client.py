"""What nodes say of themselves: read leniently, since proxies of other versions are served, too."""

from __future__ import annotations

from typing import Any

import pytest

from xds.config.client import client_of
from xds.config.facts import Redirect
from xds.source import NodeInfo


def client(**metadata: Any) -> Any:
    return client_of(NodeInfo("default.web", metadata=metadata), zone="z1")


def test_everything() -> None:
    found = client(
        **{
            "features": ["feature-reuse-port", "feature-strict-inbound-ports"],
            "dataplane.admin.address": "127.0.0.2",
            "dataplane.admin.port": "9901",
            "dataplane.readinessReporter.port": 9902.0,
            "workdir": "/run/web",
            "ipv6Enabled": False,
        }
    )
    assert found.reuse_port and found.strict_inbound_ports and not found.unified
    assert (found.admin_address, found.admin_port, found.readiness_port) == ("127.0.0.2", 9901, 9902)
    assert (found.work_dir, found.ipv6, found.zone) == ("/run/web", False, "z1")


def test_nothing() -> None:
    found = client()
    assert found.features == frozenset()
    assert (found.admin_port, found.work_dir, found.ipv6) == (0, "/tmp", True)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ("yes", None),
        ({"redirect": []}, None),
        (
            {
                "ipFamilyMode": "ipv4",
                "redirect": {"inbound": {"enabled": True, "port": 15006}, "outbound": {"port": 15001.0}},
            },
            Redirect(15006, 15001, False),
        ),
        ({"redirect": {"outbound": {"enabled": False, "port": 15001}}}, Redirect(0, 0, True)),
        ({"ipFamilyMode": "dualstack", "redirect": {"outbound": {"port": 1}}}, Redirect(0, 1, True)),
    ],
)
def test_how_the_host_redirects(told: Any, expected: Redirect | None) -> None:
    assert client(transparentProxy=told).redirect == expected


def test_readiness_is_told_at_a_port_or_a_socket() -> None:
    assert client().readiness_address is None
    port = {"dataplane.readinessReporter.port": "9902"}
    assert client(**port).readiness_address == ("127.0.0.1", 9902)
    features = {"features": ["feature-readiness-unix-socket"], "workdir": "/run/web"}
    assert client(**port, **features).readiness_address == ("/run/web/kuma-readiness-reporter.sock", 0)


@pytest.mark.parametrize("port", ["many", "-1", "70000", None, [], ""])
def test_what_is_no_port_is_none(port: Any) -> None:
    assert client(**{"dataplane.admin.port": port}).admin_port == 0
