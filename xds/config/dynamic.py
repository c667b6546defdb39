"""Configuration for the runner beside Envoy, served by Envoy itself on a local socket.

The runner asks for `/dns` and `/meshmetric` with the entity tag that it has; Envoy answers 304, or the
new document. So what the runner needs arrives by the same stream as everything else, in order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mesh.policy.durations import canonical
from xds.config import hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, serialized, socket_address, wrapped
from xds.config.facts import DataplaneFacts, Pairs, destination, destinations
from xds.config.policies.collectors import otel_collector
from xds.config.vips import door_vips, hostnames, service_vips
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import LISTENER, Encoded

NAME = "_kuma:dynamicconfig"
UNIFIED_NAME = "system_dynamicconfig"
DNS_TTL_S = 30
BODY_BYTES_MIN = 4096
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")
_REFRESH = "1m0s"


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Everything that the listener depends on. documents: path -> JSON text."""

    socket: str
    documents: Pairs
    unified: bool = False

    @property
    def name(self) -> str:
        return UNIFIED_NAME if self.unified else NAME


@derivation
def dynamic_listener(ctx: Context, value: Dynamic) -> Encoded:
    """The listener that answers the runner."""
    routes = [route for path, body in value.documents for route in _routes(value.name, path, body)]
    config = hcm.route_config("", value.name, routes)
    longest = max((len(body.encode()) for _, body in value.documents), default=0)
    config["max_direct_response_body_size_bytes"] = wrapped(max(longest, BODY_BYTES_MIN))
    manager = hcm.http_manager(value.name, config)
    manager["typed_config"]["internal_address_config"] = hcm.networks(hcm.LOOPBACK)
    draft: Draft = {
        "name": value.name,
        "address": socket_address(value.socket, 0),
        "filter_chains": [{"filters": [manager]}],
    }
    return encode(LISTENER, value.name, serialized(hcm.LISTENER, draft))


def _routes(name: str, path: str, body: str) -> Iterator[Draft]:
    tag = hashlib.sha256(body.encode()).hexdigest()
    known = {"name": "If-None-Match", "string_match": {"exact": tag}}
    yield {"match": {"path": path, "headers": [known]}, "direct_response": {"status": 304}}
    yield {
        "name": f"{name}:{path}",
        "match": {"path": path},
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": [{"header": {"key": "Etag", "value": tag}}],
    }


# --- documents -----------------------------------------------------------------------------------


@derivation
def dns_document(ctx: Context, mesh: str, zone: str) -> str:
    """Names of destinations and their virtual addresses, for proxies in a zone."""
    records: dict[str, tuple[str, ...]] = {}
    for service, address in service_vips(ctx, mesh, zone):
        records.update(dict.fromkeys(hostnames(service), (address,)))
    for hostname, address in door_vips(ctx, mesh, zone):
        records[hostname] = (address,)
    for kind, name in destinations(ctx, mesh):
        facts = destination(ctx, kind, mesh, name)
        if facts is not None and facts.vips:
            records.update(dict.fromkeys(facts.hostnames, facts.vips))
    found = [{"name": name, "ips": list(records[name])} for name in sorted(records)]
    return _text({"records": found, "ttl": DNS_TTL_S})


def metric_document(proxy: KindConfs, facts: DataplaneFacts, work_dir: str) -> str:
    """What the runner publishes of Envoy and of applications, and to whom; "" without a MeshMetric."""
    conf = conf_of("MeshMetric", proxy)
    if conf is None or not conf.backends:
        return ""
    metrics = {
        "applications": [_application(found) for found in conf.applications or ()] or None,
        "backends": list(_backends(conf.backends, work_dir)),
        "sidecar": None if conf.sidecar is None else _sidecar(conf.sidecar),
        "extraLabels": extra_labels(facts),
    }
    return _text({"observability": {"metrics": metrics}})


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _application(found: Any) -> dict[str, Any]:
    document = {"name": found.name, "address": found.address, "port": found.port, "path": found.path}
    return {key: value for key, value in document.items() if value is not None}


def _backends(found: Iterable[Any], work_dir: str) -> Iterator[dict[str, Any]]:
    """Whether anybody scrapes, and each collector to be pushed to."""
    backends = list(found)
    if any(backend.type == "Prometheus" for backend in backends):
        yield {"type": "Prometheus"}
    for backend in (each for each in backends if each.type == "OpenTelemetry"):
        name = otel_collector(backend.open_telemetry.endpoint).name
        refresh = backend.open_telemetry.refresh_interval
        push = {
            "endpoint": f"{work_dir}/kuma-otel-{name}.sock",
            "refreshInterval": _REFRESH if refresh is None else canonical(refresh),
        }
        yield {"type": backend.type, "name": name, "openTelemetry": push}


def _sidecar(found: Any) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if found.profiles is not None:
        profiles: dict[str, Any] = {}
        if found.profiles.append_profiles is not None:
            profiles["appendProfiles"] = [{"name": p.name} for p in found.profiles.append_profiles]
        for side in ("exclude", "include"):
            selectors = getattr(found.profiles, side)
            if selectors is not None:
                profiles[side] = [{"type": s.type, "match": s.match} for s in selectors]
        document["profiles"] = profiles
    if found.include_unused is not None:
        document["includeUnused"] = found.include_unused
    return document


def extra_labels(facts: DataplaneFacts) -> dict[str, str]:
    """Labels of every metric: who the proxy is, and its tags (each with all its values in a plural)."""
    values: dict[str, list[str]] = {}
    for key, value in facts.tags:
        values.setdefault(_NOT_IN_LABELS.sub("_", key), []).append(value)
    labels = {key: found[0] for key, found in values.items()}
    labels |= {f"{key}s": f",{','.join(found)}," for key, found in values.items()}
    labels |= {
        "dataplane": facts.name,
        "kuma.proxy_role": "gateway" if facts.gateway else "sidecar",
        "mesh": facts.mesh,
        "service": facts.service,
        "zone": facts.zone,
    }
    return {key: labels[key] for key in sorted(labels)}
