"""What the API serves besides the resources of each kind: one entry per method and path.

A route without an entry is described by its path alone; a test keeps that from happening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cp.api.schemas import (
    ANYTHING,
    FLAG,
    LABELS,
    MOMENT,
    NUMBER,
    PAGES,
    READ,
    SHADOW,
    TEXT,
    TIME,
    WATCH,
    WRITE,
    Spec,
    array,
    header,
    json,
    obj,
    one_of,
    other,
    page,
    query,
    ref,
)

DATAPLANE = "/meshes/{mesh}/dataplanes/{name}"
OUTBOUND = DATAPLANE + "/_outbounds/{outbound}"


def _op(
    tag: str,
    summary: str,
    answers: Mapping[str, Spec] | Spec,
    *,
    parameters: Sequence[Spec] = (),
    body: Spec | None = None,
) -> Spec:
    """answers: by status, or the one for 200."""
    responses = {"200": answers} if "description" in answers else dict(answers)
    found: Spec = {"tags": [tag], "summary": summary, "parameters": list(parameters), "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _policies(items: Spec | None = None) -> Spec:
    return json(obj({"policies": array(items or obj({"kind": TEXT}))}))


_RULES = json(
    obj({"resource": ref("Meta"), "httpMatches": array(ANYTHING), "rules": array(obj({"type": TEXT}))})
)
_TOKEN = other("text/plain", "the token, signed")
_DURATION: Spec = {"type": "string", "pattern": r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)){1,3}$"}
_STATS = obj({"total": NUMBER})
_CHANGED = {
    "200": json(ref("Cluster")),
    "202": json(ref("Cluster"), "accepted; `pending` tells what is waited for"),
}
_OPERATION = obj(
    {"op": one_of("put", "delete")},
    {
        "resource": ANYTHING,
        "type": TEXT,
        "mesh": TEXT,
        "name": TEXT,
        "ifVersion": {"type": "integer", "minimum": 0},
    },
)
_RESULT = obj({"type": TEXT, "mesh": TEXT, "name": TEXT, "outcome": TEXT}, {"warnings": array(TEXT)})
_SERVICE = obj(
    {"type": TEXT, "mesh": TEXT, "name": TEXT}, {"status": TEXT, "serviceType": TEXT, "addressPort": TEXT}
)
_SERVICES = (
    *READ,
    *PAGES,
    query("name", TEXT, "a part of the name"),
    query("type", TEXT, "internal, external, gateway_delegated, gateway_builtin; several with commas"),
)
_INCLUDE_CHANGES = query("include", one_of("changes"), "tell which fields differ")

OPERATIONS: dict[str, Spec] = {
    # --- the control plane ------------------------------------------------------------
    "GET /": _op(
        "control plane",
        "Which product and version this is, and which replica",
        json(
            obj(
                {
                    "hostname": TEXT,
                    "product": TEXT,
                    "version": TEXT,
                    "instanceId": TEXT,
                    "clusterId": TEXT,
                    "gui": TEXT,
                }
            )
        ),
    ),
    "GET /config": _op("control plane", "The settings in effect, without secrets", json(ANYTHING)),
    "GET /healthy": _op("control plane", "Whether the process answers", json(obj({"status": TEXT}))),
    "GET /ready": _op(
        "control plane",
        "Whether reads and proxies can be served",
        {
            str(status): json(obj({"status": TEXT, "index": NUMBER, "writable": FLAG}))
            for status in (200, 503)
        },
    ),
    "GET /metrics": _op(
        "control plane", "Metrics for Prometheus", other("text/plain", "the exposition format")
    ),
    "GET /policies": _op(
        "control plane",
        "The kinds of policies",
        json(obj({"policies": array(obj({"name": TEXT, "path": TEXT}))})),
    ),
    "GET /_resources": _op(
        "control plane",
        "The kinds of resources",
        json(
            obj(
                {
                    "resources": array(
                        obj({"name": TEXT, "path": TEXT, "scope": one_of("Global", "Mesh"), "readOnly": FLAG})
                    )
                }
            )
        ),
    ),
    "GET /who-am-i": _op(
        "control plane", "Whom the request is taken for", json(obj({"name": TEXT, "groups": array(TEXT)}))
    ),
    "GET /openapi.json": _op(
        "control plane", "This description", json(obj({"openapi": TEXT, "paths": ANYTHING}))
    ),
    "GET /docs": _op("control plane", "A page to browse it", other("text/html", "the page")),
    "GET /gui": _op("control plane", "Meshes, zones and proxies at a glance", other("text/html", "the page")),
    "GET /gui/{path}": _op("control plane", "The same page, wherever it is", other("text/html", "the page")),
    "GET /global-insight": _op(
        "control plane",
        "Counts of everything",
        json(
            obj(
                {
                    "createdAt": TIME,
                    "meshes": _STATS,
                    "zones": ANYTHING,
                    "dataplanes": ANYTHING,
                    "services": ANYTHING,
                    "policies": _STATS,
                    "resources": ANYTHING,
                }
            )
        ),
        parameters=READ,
    ),
    "GET /global-insights": _op(
        "control plane",
        "Counts of resources by kind",
        json(
            obj(
                {
                    "type": TEXT,
                    "creationTime": TIME,
                    "resources": {"type": "object", "additionalProperties": _STATS},
                }
            )
        ),
        parameters=READ,
    ),
    # --- tokens -----------------------------------------------------------------------
    "POST /tokens/dataplane": _op(
        "tokens",
        "A token for proxies",
        _TOKEN,
        body=obj(
            {"mesh": TEXT},
            {
                "name": TEXT,
                "tags": {"type": "object", "additionalProperties": array(TEXT)},
                "type": one_of("dataplane", "ingress", "egress"),
                "workload": TEXT,
                "validFor": _DURATION,
            },
        ),
    ),
    "POST /tokens/zone": _op(
        "tokens",
        "A token for zone proxies, or for a zone's control plane",
        _TOKEN,
        body=obj({"scope": array(one_of("ingress", "egress", "cp"))}, {"zone": TEXT, "validFor": _DURATION}),
    ),
    "POST /tokens/user": _op(
        "tokens",
        "A token for a user of this API",
        _TOKEN,
        body=obj({"name": TEXT, "validFor": _DURATION}, {"groups": array(TEXT)}),
    ),
    # --- history and transactions -----------------------------------------------------
    "GET /history": _op(
        "history",
        "Who changed what, when and why; newest first, or as a stream, or as lines",
        {
            "200": json(
                page(ref("Event")) | {"description": "with `oldestIndex`, beyond which nothing is kept"}
            )
            | {
                "content": {
                    "application/json": {"schema": page(ref("Event"))},
                    "application/x-ndjson": {"schema": TEXT},
                    "text/event-stream": {"schema": TEXT},
                }
            }
        },
        parameters=(
            query("type", TEXT, "only of this kind"),
            query("mesh", TEXT, "only of this mesh"),
            query("name", TEXT, "only of this name"),
            query("actor", TEXT, "only by this user"),
            query("until", MOMENT, "up to this"),
            query("format", one_of("json", "jsonl"), "jsonl: one event per line, oldest first"),
            _INCLUDE_CHANGES,
            *WATCH,
            *PAGES,
            *READ[1:],
        ),
    ),
    "POST /transactions": _op(
        "history",
        "Many writes, all or none",
        json(obj({"index": NUMBER, "results": array(_RESULT)})),
        parameters=(
            query("dryRun", FLAG, "write nothing; tell what would change"),
            query("proxies", FLAG, "of a dry run: tell which proxies would be configured anew"),
            *WRITE[2:],
        ),
        body={"anyOf": [obj({"operations": array(_OPERATION)}), array(ANYTHING)]},
    ),
    # --- the cluster ------------------------------------------------------------------
    "GET /cluster": _op("cluster", "The replicas, as this one sees them", json(ref("Cluster"))),
    "POST /cluster/transfer-leader": _op(
        "cluster", "Make another replica the leader", json(ref("Cluster")), body=obj({"to": TEXT})
    ),
    "POST /cluster/members": _op(
        "cluster",
        "Add a replica",
        _CHANGED,
        body=obj({"id": TEXT, "address": TEXT}, {"role": one_of("voter", "observer"), "replaces": TEXT}),
    ),
    "POST /cluster/members/{id}/promote": _op("cluster", "Let an observer vote", _CHANGED),
    "DELETE /cluster/members/{id}": _op("cluster", "Remove a replica", _CHANGED),
    "POST /cluster/tokens": _op(
        "cluster",
        "A token to join with",
        json(obj({"token": TEXT})),
        body=obj(
            None, {"role": one_of("voter", "observer"), "node": TEXT, "replaces": TEXT, "validFor": _DURATION}
        ),
    ),
    "POST /cluster/join": _op(
        "cluster", "Certificates for a replica with a token", json(ANYTHING), body=ANYTHING
    ),
    "POST /cluster/snapshot": _op("cluster", "Take a snapshot of the log now", json(obj({"index": NUMBER}))),
    "GET /cluster/backup": _op(
        "cluster",
        "Everything, secrets included, as one file",
        other("application/octet-stream", "the backup"),
    ),
    # --- proxies ----------------------------------------------------------------------
    "GET /xds/streams": _op(
        "inspection",
        "The proxies connected to this worker",
        json(array(obj({"proxy": TEXT, "rejections": array(ANYTHING)}))),
    ),
    f"GET {DATAPLANE}/_rules": _op(
        "inspection", "The rules that apply to a proxy", _RULES, parameters=(*READ, SHADOW)
    ),
    f"GET {DATAPLANE}/_layout": _op(
        "inspection",
        "The ways in and out of a proxy",
        json(obj({"kri": TEXT, "labels": LABELS, "inbounds": array(ANYTHING), "outbounds": array(ANYTHING)})),
        parameters=READ,
    ),
    f"GET {DATAPLANE}/_policies": _op(
        "inspection", "Policies that configure a proxy as a whole", _policies(), parameters=READ
    ),
    f"GET {DATAPLANE}/_inbounds/{{inbound}}/_policies": _op(
        "inspection", "Policies of an inbound", _policies(), parameters=READ
    ),
    f"GET {OUTBOUND}/_policies": _op("inspection", "Policies of an outbound", _policies(), parameters=READ),
    f"GET {OUTBOUND}/_routes": _op(
        "inspection",
        "Routes of an outbound",
        json(obj({"routes": array(obj({"kind": TEXT}))})),
        parameters=READ,
    ),
    f"GET {OUTBOUND}/_routes/{{route}}/_policies": _op(
        "inspection", "Policies of a route", _policies(), parameters=READ
    ),
    f"GET {DATAPLANE}/_config": _op(
        "inspection",
        "The Envoy configuration of a proxy",
        json(obj({"xds": ANYTHING}, {"diff": array(obj({"op": TEXT, "path": TEXT}))})),
        parameters=(
            *READ,
            SHADOW,
            query("include", one_of("diff"), "what the policies on trial would change"),
        ),
    ),
    f"GET {DATAPLANE}/_explain": _op(
        "inspection",
        "Why a proxy is configured so: which policies and resources put a value there",
        json(obj({"mesh": TEXT, "name": TEXT, "index": NUMBER})),
        parameters=(
            *READ,
            SHADOW,
            query(
                "type", one_of("cluster", "endpoint", "listener", "route", "secret"), "of the Envoy resource"
            ),
            query("resource", TEXT, "its name"),
            query("path", TEXT, "of the field in it, as a JSON pointer"),
        ),
    ),
    **{
        f"GET {path}/{aspect}": _op(
            "inspection",
            f"What the admin interface of the proxy's Envoy says: {told}",
            {"200": {"description": "Envoy's answer, as it is"}},
            parameters=(*READ, *parameters),
        )
        for path in (DATAPLANE, "/zoneingresses/{name}", "/zoneegresses/{name}")
        for aspect, told, parameters in (
            ("xds", "its configuration", (query("include_eds", FLAG, "endpoints, too"),)),
            (
                "stats",
                "its statistics",
                (
                    query("format", one_of("text", "json", "prometheus"), "(default: text)"),
                    query("usedonly", FLAG, "only what was ever touched"),
                ),
            ),
            ("clusters", "its clusters", (query("format", one_of("text", "json"), "(default: text)"),)),
        )
    },
    "GET /meshes/{mesh}/meshgateways/{name}/_rules": _op(
        "inspection", "The rules that apply to a gateway", _RULES, parameters=(*READ, SHADOW)
    ),
    "GET /meshes/{mesh}/meshgateways/{name}/dataplanes": _op(
        "inspection",
        "The proxies that serve a gateway (the older form)",
        json(obj({"total": NUMBER, "items": array(obj({"dataplane": ANYTHING}))})),
        parameters=READ,
    ),
    f"GET {DATAPLANE}/policies": _op(
        "inspection",
        "The policies of a proxy by where they attach (the older form)",
        json(obj({"kind": TEXT, "total": NUMBER, "items": array(obj({"type": TEXT, "name": TEXT}))})),
        parameters=READ,
    ),
    f"GET {DATAPLANE}/rules": _op(
        "inspection",
        "The merged rules of a proxy in one list (the older form)",
        json(obj({"total": NUMBER, "items": array(obj({"type": TEXT, "policyType": TEXT}))})),
        parameters=READ,
    ),
    "GET /meshes/{mesh}/meshservices/{name}/_dataplanes": _op(
        "inspection",
        "The proxies behind a MeshService",
        json(page(ref("Meta"), next_always=False)),
        parameters=(*READ, *PAGES),
    ),
    "GET /service-insights": _op(
        "inspection", "The services of all meshes", json(page(_SERVICE)), parameters=_SERVICES
    ),
    "GET /meshes/{mesh}/service-insights": _op(
        "inspection", "The services of a mesh", json(page(_SERVICE)), parameters=_SERVICES
    ),
    "GET /meshes/{mesh}/service-insights/{service}": _op(
        "inspection", "One service", json(_SERVICE), parameters=READ
    ),
    "GET /_kri/{kri}": _op(
        "inspection",
        "A resource by its identifier",
        {
            "200": json(obj({"type": TEXT, "name": TEXT})),
            "304": {"description": "still the version of If-None-Match"},
        },
        parameters=(*READ, header("If-None-Match", "the version that the client has")),
    ),
}
