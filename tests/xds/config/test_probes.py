"""Virtual probes: paths of the application, open to who has no certificate."""

from __future__ import annotations

from typing import Any

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, node, rendered, view_of
from xds.config.source import Source
from xds.types import LISTENER

Json = dict[str, Any]
PROBES = {
    "port": 9000,
    "endpoints": [
        {"inboundPort": 80, "inboundPath": "/healthz?full=1", "path": "/80/healthz"},
        {"inboundPort": 3001, "inboundPath": "/live", "path": "/3001/live"},
    ],
}


def listeners(networking: Json | None = None, **more: Any) -> Json:
    document = dataplane("web", 8080, service_port=80, networking=networking or {}) | more
    source = Source(view_of([mesh(mtls=MTLS), document]))
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())
    assert not source.failures
    result: Json = found[LISTENER]
    return result


def test_a_path_leads_to_the_application_behind_an_inbound() -> None:
    listener = listeners(probes=PROBES)["probe:listener"]
    assert listener["address"]["socketAddress"] == {"address": "192.168.0.1", "portValue": 9000}
    (chain,) = listener["filterChains"]
    assert "transportSocket" not in chain
    routes = chain["filters"][0]["typedConfig"]["routeConfig"]
    assert (routes["name"], routes["virtualHosts"][0]["name"]) == ("probe:route_configuration", "probe")
    known, unknown = routes["virtualHosts"][0]["routes"]
    assert known["match"] == {"path": "/80/healthz"}
    assert known["route"]["cluster"] == "localhost:80"
    assert known["route"]["regexRewrite"]["substitution"] == "/healthz"
    assert unknown["redirect"] == {"portRedirect": 3001, "pathRedirect": "/live", "responseCode": "FOUND"}


def test_redirected_probes_arrive_by_the_listener_of_redirected_traffic() -> None:
    assert listeners(TRANSPARENT, probes=PROBES)["probe:listener"]["bindToPort"] is False


def test_without_probes_there_is_no_such_port() -> None:
    assert "probe:listener" not in listeners()
