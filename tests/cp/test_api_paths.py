"""Every path of Kuma's API in one world: its status, and what its body is made of."""

from __future__ import annotations

from typing import Any

from tests.cp.conftest import Api, ApiFactory

INBOUND = {"port": 80, "servicePort": 8080, "name": "http", "tags": {"kuma.io/service": "web"}}
TO_MESH = {"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}
LISTENER = {"port": 80, "protocol": "HTTP", "tags": {"port": "80"}}
ZONE_PROXY = {"address": "10.0.0.9", "port": 10001}
WORLD: list[dict[str, Any]] = [
    {
        "type": "Mesh",
        "name": "default",
        "meshServices": {"mode": "Exclusive"},
        "skipCreatingInitialPolicies": ["*"],
    },
    {"type": "Zone", "name": "east"},
    {"type": "ZoneIngress", "name": "in", "networking": ZONE_PROXY},
    {"type": "ZoneEgress", "name": "out", "networking": ZONE_PROXY},
    {"type": "GlobalSecret", "name": "g", "data": "YQ=="},
    {
        "type": "Dataplane",
        "mesh": "default",
        "name": "web-1",
        "networking": {"address": "10.0.0.1", "inbound": [INBOUND]},
    },
    {
        "type": "Dataplane",
        "mesh": "default",
        "name": "edge-1",
        "networking": {
            "address": "10.0.0.2",
            "gateway": {"type": "BUILTIN", "tags": {"kuma.io/service": "edge"}},
        },
    },
    {
        "type": "MeshGateway",
        "mesh": "default",
        "name": "edge",
        "selectors": [{"match": {"kuma.io/service": "edge"}}],
        "conf": {"listeners": [LISTENER]},
    },
    {
        "type": "MeshService",
        "mesh": "default",
        "name": "web",
        "spec": {
            "selector": {"dataplaneTags": {"kuma.io/service": "web"}},
            "ports": [{"port": 80, "targetPort": 80, "appProtocol": "http"}],
        },
    },
    {"type": "MeshTimeout", "mesh": "default", "name": "t", "spec": {"to": [TO_MESH]}},
]

M = "/meshes/default"
PAGE = {"total", "items", "next"}
ITEMS = {"total", "items"}
OUTBOUND = f"{M}/dataplanes/web-1/_outbounds/kri_msvc_default_default__web_80"
ROUTE = "kri_mhttpr_default_default__r_"
OVERVIEWS = ("zones", "zoneingresses", "zoneegresses", "zone-ingresses")
PATHS: list[tuple[str, set[str]]] = [
    ("/", {"hostname", "product", "version", "instanceId", "clusterId", "gui", "basedOnKuma"}),
    ("/config", {"apiServer", "mode", "dpServer", "multizone"}),
    ("/policies", {"policies"}),
    ("/_resources", {"resources"}),
    ("/who-am-i", {"name", "groups"}),
    ("/global-insight", {"createdAt", "meshes", "zones", "dataplanes", "services", "policies", "resources"}),
    ("/global-insights", {"type", "creationTime", "resources"}),
    ("/_kri/kri_mt_default_default__t_", {"type", "mesh", "name", "kri", "spec"}),
    ("/meshes", PAGE),
    (M, {"type", "name", "kri", "creationTime", "modificationTime"}),
    ("/meshtimeouts", PAGE),
    (f"{M}/meshtimeouts", PAGE),
    (f"{M}/meshtimeouts/t", {"type", "mesh", "name", "labels", "spec"}),
    (f"{M}/meshtimeouts/t?format=kubernetes", {"apiVersion", "kind", "metadata", "spec"}),
    ("/globalsecrets", PAGE),
    ("/global-secrets/g", {"type", "name", "data"}),
    ("/secrets", PAGE),
    *((f"/{plural}{tail}", PAGE) for plural in OVERVIEWS for tail in ("", "/_overview", "+insights")),
    ("/zoneingressoverviews", PAGE),
    ("/zoneegressoverviews", PAGE),
    ("/zones/east/_overview", {"type", "name", "zone"}),
    ("/zones+insights/east", {"type", "name", "zone"}),
    ("/zoneingresses/in/_overview", {"type", "name", "zoneIngress"}),
    ("/zoneingressoverviews/in", {"type", "name", "zoneIngress"}),
    ("/zoneegresses/out/_overview", {"type", "name", "zoneEgress"}),
    ("/zoneegressoverviews/out", {"type", "name", "zoneEgress"}),
    *((f"{prefix}/dataplanes{tail}", PAGE) for prefix in ("", M) for tail in ("", "/_overview", "+insights")),
    (f"{M}/dataplanes/web-1/_overview", {"type", "mesh", "name", "labels", "dataplane"}),
    (f"{M}/dataplanes+insights/web-1", {"type", "mesh", "name", "labels", "dataplane"}),
    ("/mesh-insights", PAGE),
    (
        "/mesh-insights/default",
        {"type", "name", "dataplanes", "dataplanesByType", "resources", "dpVersions", "mTLS", "services"},
    ),
    ("/service-insights", PAGE),
    (f"{M}/service-insights", PAGE),
    (f"{M}/service-insights?type=internal,external", PAGE),
    (f"{M}/service-insights/web", {"type", "mesh", "name", "status", "dataplanes", "addressPort"}),
    ("/dataplane-insights", PAGE),
    ("/zone-insights", PAGE),
    ("/zone-ingress-insights", PAGE),
    ("/zoneegressinsights", PAGE),
    (f"{M}/meshtimeouts/t/_resources/dataplanes", ITEMS),
    (f"{M}/meshtimeouts/t/dataplanes", ITEMS),
    (f"{M}/dataplanes/web-1/policies", {"kind", "total", "items"}),
    (f"{M}/dataplanes/web-1/rules", ITEMS),
    (f"{M}/dataplanes/web-1/_rules", {"resource", "httpMatches", "rules"}),
    (f"{M}/meshgateways/edge/_rules", {"resource", "httpMatches", "rules"}),
    (f"{M}/meshgateways/edge/dataplanes", ITEMS),
    (f"{M}/dataplanes/web-1/_layout", {"inbounds", "outbounds"}),
    (f"{M}/dataplanes/web-1/_policies", {"policies"}),
    (f"{M}/dataplanes/web-1/_inbounds/kri_dp_default_default__web-1_http/_policies", {"policies"}),
    (f"{OUTBOUND}/_policies", {"policies"}),
    (f"{OUTBOUND}/_routes", {"routes"}),
    (f"{OUTBOUND}/_routes/{ROUTE}/_policies", {"policies"}),
    (f"{M}/meshservices/web/_dataplanes", ITEMS),
    (f"{M}/meshservices/web/_resources/dataplanes", ITEMS),
    (f"{M}/meshservices/web/_hostnames", ITEMS),
]


async def test_every_path_is_served_with_its_body(api: Api) -> None:
    assert (await api.call("POST", "/transactions", WORLD)).status == 200
    for path, members in PATHS:
        answer = await api.get(path)
        assert answer.status == 200, (path, answer.text)
        assert answer.headers["Content-Type"] == "application/json", path
        assert members <= answer.json.keys(), (path, sorted(answer.json))


NOT_FOUND: list[tuple[str, str]] = [
    ("/meshes/nope", "Could not retrieve a resource"),
    (f"{M}/meshtimeouts/nope", "Could not retrieve a resource"),
    ("/zones/nope", "Could not retrieve a resource"),
    ("/zones/nope/_overview", "Could not retrieve a resource"),
    (f"{M}/dataplanes/nope/_overview", "Could not retrieve a resource"),
    ("/mesh-insights/nope", "Could not retrieve a resource"),
    ("/_kri/kri_mt_default_default__nope_", "Could not retrieve a resource"),
    ("/meshes/nope/meshtimeouts", "Failed to retrieve Mesh"),
    ("/meshes/nope/meshtimeouts/t", "Failed to retrieve Mesh"),
    ("/meshes/nope/dataplanes/_overview", "Failed to retrieve Mesh"),
    ("/meshes/nope/service-insights", "Failed to retrieve Mesh"),
    ("/meshes/nope/dataplanes/web-1/_rules", "Failed to retrieve Mesh"),
    ("/meshes/nope/meshtimeouts/t/_resources/dataplanes", "Failed to retrieve Mesh"),
    (f"{M}/dataplanes/nope/_rules", "Could not retrieve Dataplane"),
    (f"{M}/dataplanes/web-1/_config", "Failed to retrieve DataplaneInsight"),
    (f"{M}/meshservices/nope/_hostnames", "could not retrieve service"),
    *(
        (f"/{path}", "Not Found")
        for path in ("versions", "status/zones", "configs", "meshtimeouts/t", "dataplanes/web-1")
    ),
    *(
        (f"{M}/{path}", "Not Found")
        for path in ("zones", "globalsecrets", "meshgatewayroutes", "dataplanes/web-1/x")
    ),
]


async def test_what_is_not_found_names_the_step(api: Api) -> None:
    assert (await api.call("POST", "/transactions", WORLD)).status == 200
    for path, title in NOT_FOUND:
        answer = await api.get(path)
        assert (answer.status, answer.json["title"]) == (404, title), (path, answer.text)
        if title != "Not Found":
            assert answer.json["detail"] == "Not found"


BAD = [
    (f"{M}/dataplanes/web-1/_config?shadow=maybe", "Bad Request"),
    (f"{M}/dataplanes/web-1/_config?include=all", "Bad Request"),
    (f"{M}/dataplanes/web-1/_outbounds/nonsense/_policies", "Bad Request"),
    (f"{M}/service-insights?type=strange", "Bad Request"),
    ("/_kri/nonsense", "Bad Request"),
    (f"{M}/meshtimeouts/t?format=xml", "Bad Request"),
    ("/meshes?size=1001", "Could not retrieve resources"),
    ("/zones/_overview?offset=x", "Could not retrieve resources"),
    (f"{M}/meshtimeouts/t/_resources/dataplanes?size=x", "Could not retrieve resources"),
    (f"{M}/dataplanes?filter[labels.a][eq]=b", "Could not retrieve resources"),
]


async def test_what_cannot_be_understood(api: Api) -> None:
    assert (await api.call("POST", "/transactions", WORLD)).status == 200
    for path, title in BAD:
        answer = await api.get(path)
        assert (answer.status, answer.json["title"]) == (400, title), (path, answer.text)


async def test_on_global_the_configuration_of_a_proxy_is_elsewhere(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_MODE="global")
    await api.mesh()
    answer = await api.get(f"{M}/dataplanes/web-1/_config")
    assert (answer.status, answer.json["title"]) == (405, "Method not allowed")
