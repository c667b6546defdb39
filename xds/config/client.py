"""What a node says of itself, read from the metadata of its first request.

The keys are those of Kuma's bootstrap. Values that are missing or not of their type count as absent:
a proxy of another version is served, not refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xds.config.facts import Client, Redirect
from xds.source import NodeInfo

DEFAULT_WORK_DIR = "/tmp"


def client_of(node: NodeInfo, *, zone: str = "", shadow: bool = False) -> Client:
    """The facts of a node in a zone. shadow: derive as if shadow policies were in force."""
    metadata = node.metadata
    features = metadata.get("features")
    return Client(
        features=frozenset(str(name) for name in features)
        if isinstance(features, list | tuple)
        else frozenset(),
        admin_address=_text(metadata, "dataplane.admin.address") or "127.0.0.1",
        admin_port=_port(metadata, "dataplane.admin.port"),
        admin_socket=_text(metadata, "dataplane.admin.socket"),
        readiness_port=_port(metadata, "dataplane.readinessReporter.port"),
        work_dir=_text(metadata, "workdir") or DEFAULT_WORK_DIR,
        metrics_socket=_text(metadata, "metricsSocketPath"),
        metrics_certificate=(_text(metadata, "metricsCertPath"), _text(metadata, "metricsKeyPath")),
        system_ca_path=_text(metadata, "systemCaPath"),
        ipv6=metadata.get("ipv6Enabled") is not False,
        zone=zone,
        shadow=shadow,
        redirect=_redirect(metadata.get("transparentProxy")),
    )


def _redirect(told: Any) -> Redirect | None:
    """How the host redirects, as the runner was configured (`--transparent-proxy-config`); None: it does not say."""
    if not isinstance(told, Mapping) or not isinstance(told.get("redirect"), Mapping):
        return None
    ports = {flow: _flow_port(told["redirect"].get(flow)) for flow in ("inbound", "outbound")}
    family = str(told.get("ipFamilyMode") or "dualstack").lower()
    return Redirect(ports["inbound"], ports["outbound"], family != "ipv4")


def _flow_port(flow: Any) -> int:
    if not isinstance(flow, Mapping) or flow.get("enabled") is False:
        return 0
    return _port(flow, "port")


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def _port(metadata: Mapping[str, Any], key: str) -> int:
    """A port, written as a number or as text; 0 when there is none."""
    value = metadata.get(key)
    text = str(int(value)) if isinstance(value, int | float) else str(value or "")
    return int(text) if text.isdecimal() and int(text) <= 65535 else 0
