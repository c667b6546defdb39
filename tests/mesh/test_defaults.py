"""What a new mesh and a new control plane start with."""

from __future__ import annotations

from mesh.codec import decode, to_document
from mesh.defaults import default_mesh, default_policies, hostname_generators
from mesh.validate import validate
from mesh.view import View


def test_policies_of_a_new_mesh() -> None:
    mesh = default_mesh()
    policies = default_policies(mesh)
    assert [(p.kind, p.name) for p in policies] == [
        ("MeshTimeout", "mesh-timeout-all-default"),
        ("MeshTimeout", "mesh-gateways-timeout-all-default"),
        ("MeshCircuitBreaker", "mesh-circuit-breaker-all-default"),
        ("MeshRetry", "mesh-retry-all-default"),
    ]
    view = View.of([mesh])
    assert all(validate(item, view) == [] for item in (mesh, *policies))


def test_exact_values() -> None:
    timeouts, gateways, breaker, retry = (to_document(p)["spec"] for p in default_policies(default_mesh("m")))
    assert timeouts == {
        "targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]},
        "to": [
            {
                "targetRef": {"kind": "Mesh"},
                "default": {
                    "connectionTimeout": "5s",
                    "idleTimeout": "1h",
                    "http": {"requestTimeout": "15s", "streamIdleTimeout": "30m"},
                },
            }
        ],
        "from": [
            {
                "targetRef": {"kind": "Mesh"},
                "default": {
                    "connectionTimeout": "10s",
                    "idleTimeout": "2h",
                    "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h", "maxStreamDuration": "0s"},
                },
            }
        ],
    }
    assert gateways["from"][0]["default"]["http"]["requestHeadersTimeout"] == "500ms"
    limits = breaker["to"][0]["default"]["connectionLimits"]
    assert limits == {
        "maxConnections": 1024,
        "maxPendingRequests": 1024,
        "maxRetries": 3,
        "maxRequests": 1024,
    }
    conf = retry["to"][0]["default"]
    assert conf["tcp"] == {"maxConnectAttempt": 5}
    back_off = {"baseInterval": "25ms", "maxInterval": "250ms"}
    assert conf["http"] == conf["grpc"] == {"numRetries": 5, "perTryTimeout": "16s", "backOff": back_off}


def test_policies_can_be_skipped() -> None:
    none = decode({"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["*"]})
    assert default_policies(none) == []
    some = decode({"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["MeshTimeout"]})
    assert [p.kind for p in default_policies(some)] == ["MeshCircuitBreaker", "MeshRetry"]


def test_hostname_generators() -> None:
    on_global, on_zone = hostname_generators("global"), hostname_generators("zone")
    assert [g.name for g in on_zone] == ["local-mesh-external-service", "local-universal-mesh-service"]
    assert len({g.name for g in on_global}) == 5
    assert all(validate(g) == [] for g in (*on_global, *on_zone))
