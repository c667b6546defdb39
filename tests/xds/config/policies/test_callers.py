"""Rules for some callers only: the first that fits is the caller's rule, in routes, filters and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, TCP_IN, Sidecar
from tests.xds.config.test_zoneproxy import (
    DOMAIN,
    EGRESS,
    IDENTITY,
    INGRESS,
    SNI,
    ZONE,
    config,
    external,
)
from tests.xds.config.worlds import mesh_service, policy
from xds.config.policies import callers
from xds.types import LISTENER

WEB = {"spiffeID": {"type": "Exact", "value": "spiffe://default/web"}}
API = {"spiffeID": {"type": "Exact", "value": "spiffe://default/api"}}
ANY = {"spiffeID": {"type": "Prefix", "value": "spiffe://default/"}}
ASKED = {"sni": {"type": "Exact", "value": "a.test"}}


def ruled(kind: str, *rules: tuple[dict[str, Any] | None, Any]) -> dict[str, Any]:
    found = [{"default": default} | ({"matches": [match]} if match else {}) for match, default in rules]
    return policy(kind, "p", rules=found)


def request_timeout(text: str) -> dict[str, Any]:
    return {"http": {"requestTimeout": text}}


TIMEOUTS = ruled(
    "MeshTimeout", (None, request_timeout("7s")), (ANY, request_timeout("2s")), (WEB, request_timeout("1s"))
)


def test_requests_of_a_caller_take_a_route_with_its_timeouts() -> None:
    routes = Sidecar(TIMEOUTS).routes(HTTP_IN)
    found = [(route["match"].get("dynamicMetadata"), route["route"]["timeout"]) for route in routes]
    assert [timeout for _, timeout in found] == ["1s", "2s", "7s"]
    noted = [each[0] for each, _ in found[:2]]
    assert [each["filter"] for each in noted] == [callers.NAMESPACE] * 2
    assert [(each["path"], each["value"]["stringMatch"]["exact"]) for each in noted] == [
        ([{"key": "MeshTimeout"}], "0"),
        ([{"key": "MeshTimeout"}], "1"),
    ]
    assert found[2][0] is None


def test_a_caller_keeps_what_its_rule_does_not_say() -> None:
    common = {"http": {"requestTimeout": "7s", "streamIdleTimeout": "9s"}}
    (of_web, _) = Sidecar(ruled("MeshTimeout", (None, common), (WEB, request_timeout("1s")))).routes(HTTP_IN)
    assert (of_web["route"]["timeout"], of_web["route"]["idleTimeout"]) == ("1s", "9s")


def test_who_calls_is_noted_before_all_else() -> None:
    sidecar = Sidecar(TIMEOUTS)
    assert sidecar.filters(HTTP_IN)[:2] == ["lua", "rbac"]
    code = sidecar.http_filter(HTTP_IN, "lua")["typedConfig"]["defaultSourceCode"]["inlineString"]
    table = code.splitlines()[0]
    assert table == (
        'local rules = {MeshTimeout = {{key = "0", id = "spiffe://default/web", prefix = false}, '
        '{key = "1", id = "spiffe://default/", prefix = true}}}'
    )


def test_nobody_is_told_apart_without_need() -> None:
    plain = Sidecar(ruled("MeshTimeout", (None, request_timeout("7s"))))
    assert "lua" not in plain.filters(HTTP_IN)
    assert len(plain.routes(HTTP_IN)) == 1


def limit(number: int) -> dict[str, Any]:
    return {"local": {"http": {"requestRate": {"num": number, "interval": "1s"}}}}


def conditions(found: dict[str, Any]) -> list[dict[str, Any]]:
    matchers = found["typedConfig"].get("xdsMatcher", {}).get("matcherList", {}).get("matchers", ())
    return [each["predicate"] for each in matchers]


def test_each_rule_has_a_bucket_which_only_its_callers_empty() -> None:
    policies = ruled("MeshRateLimit", (None, limit(9)), (WEB, limit(1)))
    filters = Sidecar(policies).manager(HTTP_IN)["httpFilters"]
    of_web, others = [found for found in filters if found["name"].startswith("kri_mrl_")]
    inner = [found["typedConfig"]["extensionConfig"]["typedConfig"] for found in (of_web, others)]
    assert [found["tokenBucket"]["maxTokens"] for found in inner] == [1, 9]
    (skipped,) = conditions(of_web)
    assert "notMatcher" in skipped
    (skipped,) = conditions(others)
    assert "singlePredicate" in skipped
    assert "typedPerFilterConfig" not in Sidecar(policies).routes(HTTP_IN)[0]


def test_a_fault_is_only_injected_for_the_first_rule_that_fits() -> None:
    def abort(status: int) -> dict[str, Any]:
        return {"http": [{"abort": {"httpStatus": status, "percentage": 100}}]}

    policies = ruled("MeshFaultInjection", (WEB, abort(501)), (ANY, abort(502)), (None, abort(503)))
    filters = Sidecar(policies).manager(HTTP_IN)["httpFilters"]
    found = [each for each in filters if each["name"].startswith("kri_mfi_")]
    assert [len(conditions(each)) for each in found] == [1, 2, 2]
    assert ["notMatcher" in conditions(each)[0] for each in found] == [True, True, False]


def log(path: str) -> dict[str, Any]:
    return {"backends": [{"type": "File", "file": {"path": path}}]}


LOGS = ruled(
    "MeshAccessLog", (None, log("/dev/null")), (WEB, log("/dev/stdout")), (ASKED, log("/dev/stderr"))
)


def test_a_request_is_logged_by_its_rule_alone() -> None:
    logs = Sidecar(LOGS).manager(HTTP_IN)["accessLog"]
    found = {each["typedConfig"]["path"]: each["filter"]["metadataFilter"] for each in logs}
    assert found["/dev/stdout"]["matcher"]["value"] == {"stringMatch": {"exact": "0"}}
    assert found["/dev/stderr"]["matcher"]["value"] == {"stringMatch": {"exact": "1"}}
    assert not any(found[path]["matchIfKeyNotFound"] for path in ("/dev/stdout", "/dev/stderr"))
    assert found["/dev/null"]["matchIfKeyNotFound"]


def test_a_connection_is_logged_by_its_rule_alone() -> None:
    proxy = Sidecar(LOGS).listener(TCP_IN)["filterChains"][0]["filters"][-1]["typedConfig"]
    found = {each["typedConfig"]["path"]: expression(each) for each in proxy["accessLog"]}
    is_web = 'connection.uri_san_peer_certificate == "spiffe://default/web"'
    asks = 'connection.requested_server_name == "a.test"'
    assert found["/dev/stdout"] == is_web
    assert found["/dev/stderr"] == f"{asks} && !({is_web})"
    assert found["/dev/null"] == f"!({is_web}) && !({asks})"


def expression(logger: dict[str, Any]) -> str:
    return str(logger["filter"]["extensionFilter"]["typedConfig"]["expression"])


def test_plain_traffic_is_nobodys() -> None:
    permissive = policy("MeshTLS", "t", rules=[{"default": {"mode": "Permissive"}}])
    chains = Sidecar(LOGS, permissive).listener(TCP_IN)["filterChains"]
    for chain in (each for each in chains if "transportSocket" not in each):
        (logged,) = chain["filters"][-1]["typedConfig"]["accessLog"]
        assert (logged["typedConfig"]["path"], "filter" in logged) == ("/dev/null", False)


def test_collectors_of_some_callers_have_clusters() -> None:
    otel = {"backends": [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:4317"}}]}
    sidecar = Sidecar(ruled("MeshAccessLog", (WEB, otel)))
    assert not sidecar.failures
    assert sidecar.cluster("meshaccesslog:opentelemetry:0")["type"] == "STRICT_DNS"


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (WEB, ANY, True),
        (ANY, WEB, True),
        (WEB, API, False),
        (WEB, ASKED, True),
        (ASKED, {"sni": {"type": "Exact", "value": "b.test"}}, False),
        (ANY, {"spiffeID": {"type": "Prefix", "value": "spiffe://other/"}}, False),
        (ANY, {"spiffeID": {"type": "Prefix", "value": "spiffe://default/a"}}, True),
    ],
)
def test_only_rules_that_share_callers_exclude_each_other(first: Any, second: Any, both: bool) -> None:
    texts = (("K", f'{{"rules":[{one(first)},{one(second)}]}}'),)
    rules = callers.rules_of("K", texts)
    assert [len(rule.earlier) for rule in rules] == [0, int(both)]


def one(match: Any) -> str:
    return '{"kri":"k","conf":{},"match":' + str(match).replace("'", '"') + "}"


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(TIMEOUTS, LOGS, ruled("MeshRateLimit", (None, limit(9)), (WEB, limit(1)))).validate(tmp_path)


# --- egresses ------------------------------------------------------------------------------------

TO_PAYPAL = {"sni": {"type": "Exact", "value": SNI}}
CALLER = {"spiffeID": {"type": "Exact", "value": f"spiffe://{DOMAIN}/workload/web"}}


def leaving(*policies: dict[str, Any], protocol: str = "http") -> dict[str, Any]:
    """The way out to the external service."""
    found = config("egress", EGRESS, *IDENTITY, external(protocol), *policies)
    (chain,) = found[LISTENER]["self_zoneegress_dp_egress"]["filterChains"]
    filters: dict[str, Any] = {
        each["name"].rpartition(".")[2]: each["typedConfig"] for each in chain["filters"]
    }
    return filters


def test_requests_that_leave_are_limited_by_server_name() -> None:
    elsewhere = {"sni": {"type": "Exact", "value": "other.test"}}
    manager = leaving(ruled("MeshRateLimit", (TO_PAYPAL, limit(3)), (elsewhere, limit(1))))[
        "http_connection_manager"
    ]
    (route,) = manager["routeConfig"]["virtualHosts"][0]["routes"]
    (limited,) = route["typedPerFilterConfig"].values()
    assert limited["tokenBucket"]["maxTokens"] == 3


def test_requests_that_leave_are_limited_by_who_sends_them() -> None:
    both = CALLER | TO_PAYPAL
    policies = ruled("MeshRateLimit", (both, limit(1)), (TO_PAYPAL, limit(3)), (None, limit(9)))
    manager = leaving(policies)["http_connection_manager"]
    found = [each["typedConfig"] for each in manager["httpFilters"] if each["name"].startswith("kri_mrl")]
    tokens = [each["extensionConfig"]["typedConfig"]["tokenBucket"]["maxTokens"] for each in found]
    assert tokens == [1, 3], "what is for everybody is for nobody who asks for this name"


def test_connections_that_leave_are_limited() -> None:
    rate = {"local": {"tcp": {"connectionRate": {"num": 5, "interval": "1s"}}}}
    filters = leaving(ruled("MeshRateLimit", (TO_PAYPAL, rate)), protocol="tcp")
    assert filters["LocalRateLimit"]["tokenBucket"]["maxTokens"] == 5


def test_faults_are_injected_on_the_way_out() -> None:
    fault = {"http": [{"abort": {"httpStatus": 503, "percentage": 100}}]}
    manager = leaving(ruled("MeshFaultInjection", (TO_PAYPAL, fault)))["http_connection_manager"]
    (found,) = [each for each in manager["httpFilters"] if each["name"].startswith("kri_mfi")]
    assert found["typedConfig"]["abort"]["httpStatus"] == 503


@pytest.mark.parametrize(("protocol", "name"), [("http", "http_connection_manager"), ("tcp", "tcp_proxy")])
def test_what_leaves_is_logged(protocol: str, name: str) -> None:
    text = {"type": "Plain", "plain": "%KUMA_DESTINATION_SERVICE% %KUMA_TRAFFIC_DIRECTION%"}
    file = {"type": "File", "file": {"path": "/dev/stdout", "format": text}}
    config = leaving(ruled("MeshAccessLog", (TO_PAYPAL, {"backends": [file]})), protocol=protocol)[name]
    (logged,) = config["accessLog"]
    assert logged["typedConfig"]["logFormat"]["textFormatSource"]["inlineString"] == "paypal OUTBOUND\n"
    assert "filter" not in logged


def test_connections_that_come_in_are_limited_logged_and_timed_by_server_name() -> None:
    name = {"sni": {"type": "Exact", "value": f"sni.msvc.default.{ZONE}.web.8080"}}
    text = {"type": "Plain", "plain": "%KUMA_DESTINATION_SERVICE% %KUMA_TRAFFIC_DIRECTION%"}
    logged = {"backends": [{"type": "File", "file": {"path": "/dev/stdout", "format": text}}]}
    rate = {"local": {"tcp": {"connectionRate": {"num": 5, "interval": "1s"}}}}
    policies = [
        ruled("MeshAccessLog", (name, logged)),
        ruled("MeshRateLimit", (name, rate)),
        ruled("MeshTimeout", (name, {"idleTimeout": "7s"}), (None, {"idleTimeout": "9s"})),
    ]
    services = [mesh_service("web", 8080), mesh_service("api", 80)]
    found = config("ingress", INGRESS, *services, *policies)
    chains = found[LISTENER]["self_zoneingress_dp_ingress"]["filterChains"]
    by_name = {
        chain["filterChainMatch"]["serverNames"][0].split(".")[-2]: [
            each["typedConfig"] for each in chain["filters"]
        ]
        for chain in chains
    }
    limited, carried = by_name["web"]
    assert limited["tokenBucket"]["maxTokens"] == 5
    assert carried["idleTimeout"] == "7s"
    (log,) = carried["accessLog"]
    assert log["typedConfig"]["logFormat"]["textFormatSource"]["inlineString"] == "web INBOUND\n"
    (carried,) = by_name["api"]
    assert carried["idleTimeout"] == "9s" and "accessLog" not in carried


def test_timeouts_of_what_leaves_depend_on_who_sends_it() -> None:
    policies = ruled("MeshTimeout", (CALLER, request_timeout("1s")), (TO_PAYPAL, request_timeout("3s")))
    manager = leaving(policies)["http_connection_manager"]
    routes = manager["routeConfig"]["virtualHosts"][0]["routes"]
    assert [route["route"]["timeout"] for route in routes] == ["1s", "3s"]
    assert manager["httpFilters"][0]["name"].endswith("lua")
