"""MeshRetry: by protocol, with everything that Envoy can be told about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xds.config.policies.sidecar import GRPC_OUT, HTTP_OUT, TCP_OUT, Sidecar, prefix, route, to

HTTP = {
    "numRetries": 3,
    "perTryTimeout": "2s",
    "backOff": {"baseInterval": "50ms", "maxInterval": "1s"},
    "rateLimitedBackOff": {"resetHeaders": [{"name": "retry-after", "format": "Seconds"}]},
    "retryOn": ["GatewayError", "503", "HttpMethodGet"],
    "retriableResponseHeaders": [{"name": "x-again", "type": "Present"}],
    "retriableRequestHeaders": [{"name": "x-safe", "type": "Exact", "value": "yes"}],
    "hostSelection": [
        {"predicate": "OmitPreviousHosts"},
        {"predicate": "OmitHostsWithTags", "tags": {"version": "v1"}},
        {"predicate": "OmitPreviousPriorities", "updateFrequency": 3},
    ],
    "hostSelectionMaxAttempts": 4,
}
CONF = {"http": HTTP, "grpc": {"numRetries": 2, "retryOn": ["Unavailable"]}, "tcp": {"maxConnectAttempt": 6}}


def test_http() -> None:
    found = Sidecar(to("MeshRetry", CONF)).routes(HTTP_OUT)[0]["route"]["retryPolicy"]
    assert found["numRetries"] == 3
    assert found["retryOn"] == "gateway-error,retriable-status-codes,retriable-headers"
    assert found["retriableStatusCodes"] == [503]
    assert found["retryBackOff"] == {"baseInterval": "0.050s", "maxInterval": "1s"}
    assert found["rateLimitedRetryBackOff"]["maxInterval"] == "300s"
    assert [header["name"] for header in found["retriableRequestHeaders"]] == [":method", "x-safe"]
    assert [p["name"].rpartition(".")[2] for p in found["retryHostPredicate"]] == [
        "previous_hosts",
        "omit_host_metadata",
    ]
    assert found["retryPriority"]["typedConfig"]["updateFrequency"] == 3
    assert found["hostSelectionRetryMaxAttempts"] == "4"


def test_grpc_and_tcp() -> None:
    sidecar = Sidecar(to("MeshRetry", CONF))
    found = sidecar.routes(GRPC_OUT)[0]["route"]["retryPolicy"]
    assert found == {"numRetries": 2, "retryOn": "unavailable"}
    assert sidecar.manager(TCP_OUT)["maxConnectAttempts"] == 6


def test_conditions_have_defaults() -> None:
    sidecar = Sidecar(to("MeshRetry", {"http": {"numRetries": 1}, "grpc": {"numRetries": 1}}))
    http, grpc = (sidecar.routes(name)[0]["route"]["retryPolicy"]["retryOn"] for name in (HTTP_OUT, GRPC_OUT))
    assert http == "gateway-error,connect-failure,refused-stream"
    assert grpc.startswith("cancelled,connect-failure")


def test_status_codes_alone_are_added_to_the_defaults() -> None:
    found = Sidecar(to("MeshRetry", {"http": {"retryOn": ["503"]}})).routes(HTTP_OUT)[0]["route"]
    conditions = "gateway-error,connect-failure,refused-stream,retriable-status-codes"
    assert found["retryPolicy"] == {"retryOn": conditions, "retriableStatusCodes": [503]}


def test_no_retries_are_no_policy() -> None:
    sidecar = Sidecar(to("MeshRetry", {"http": {"numRetries": 0}, "grpc": {"numRetries": 0}}))
    assert all("retryPolicy" not in sidecar.routes(name)[0]["route"] for name in (HTTP_OUT, GRPC_OUT))


def test_a_route_has_its_own() -> None:
    own = to("MeshRetry", {"http": {"numRetries": 9}}, {"kind": "MeshHTTPRoute", "name": "r"}, name="own")
    sidecar = Sidecar(route("r", prefix("/again")), own, to("MeshRetry", {"http": {"numRetries": 1}}))
    assert [r["route"]["retryPolicy"]["numRetries"] for r in sidecar.routes(HTTP_OUT)] == [9, 9, 1]


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(to("MeshRetry", CONF)).validate(tmp_path)


def test_the_base_of_the_back_off_is_at_most_its_limit() -> None:
    base = to("MeshRetry", {"http": {"backOff": {"baseInterval": "2s"}}}, name="a")
    limit = to("MeshRetry", {"http": {"backOff": {"maxInterval": "1s"}}}, name="b")
    (route,) = Sidecar(base, limit).routes(HTTP_OUT)
    assert route["route"]["retryPolicy"]["retryBackOff"] == {"baseInterval": "1s", "maxInterval": "1s"}
