"""Settings of a control plane that shares a machine with others, and has only what is asked of it.

For the wrong servers of the judges, for tests and for benchmarks: each takes the parts that it means.
"""

from __future__ import annotations

# Loopback alone, on ports that are free.
LOOPBACK = {
    "RAFTMESH_API_SERVER_HTTP_PORT": "0",
    "RAFTMESH_API_SERVER_HTTP_INTERFACE": "127.0.0.1",
    "RAFTMESH_API_SERVER_HTTPS_ENABLED": "false",
    "RAFTMESH_DIAGNOSTICS_SERVER_PORT": "0",
    "RAFTMESH_DIAGNOSTICS_INTERFACE": "127.0.0.1",
    "RAFTMESH_DP_SERVER_PORT": "0",
    "RAFTMESH_DP_SERVER_INTERFACE": "127.0.0.1",
}
# Keys take a tenth of a second each, and every mesh would get one.
NO_KEYS = {
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "false",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "false",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "false",
}
# Nothing is there that nobody created.
NO_DEFAULTS = {
    "RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "true",
    "RAFTMESH_DEFAULTS_SKIP_HOSTNAME_GENERATORS": "true",
}
