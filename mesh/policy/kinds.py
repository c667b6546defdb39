"""The policy kinds and what each has: who it configures, and the order in which it does.

`order` is the position in which a kind is applied when Envoy's configuration is built; listings of policies
follow it too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """Shape of one policy: lists for outbound (`to`) and inbound traffic (`from`, `rules`), or one `default`."""

    name: str
    order: int
    has_to: bool = False
    has_from: bool = False
    has_rules: bool = False

    @property
    def single(self) -> bool:
        """Whether the policy configures the proxy as a whole."""
        return not (self.has_to or self.has_from or self.has_rules)


POLICY_KINDS = (
    PolicyKind("MeshHTTPRoute", 100, has_to=True),
    PolicyKind("MeshTCPRoute", 200, has_to=True),
    PolicyKind("MeshTLS", 300, has_from=True, has_rules=True),
    PolicyKind("MeshLoadBalancingStrategy", 400, has_to=True),
    PolicyKind("MeshPassthrough", 500),
    PolicyKind("MeshAccessLog", 600, has_to=True, has_from=True, has_rules=True),
    PolicyKind("MeshTrace", 700),
    PolicyKind("MeshFaultInjection", 800, has_to=True, has_from=True, has_rules=True),
    PolicyKind("MeshRateLimit", 900, has_to=True, has_from=True, has_rules=True),
    PolicyKind("MeshTimeout", 1000, has_to=True, has_from=True, has_rules=True),
    PolicyKind("MeshTrafficPermission", 1100, has_from=True, has_rules=True),
    PolicyKind("MeshHealthCheck", 1200, has_to=True),
    PolicyKind("MeshCircuitBreaker", 1300, has_to=True, has_from=True, has_rules=True),
    PolicyKind("MeshRetry", 1400, has_to=True),
    PolicyKind("MeshMetric", 1500),
    PolicyKind("MeshProxyPatch", 9999),
)

BY_NAME = {kind.name: kind for kind in POLICY_KINDS}

ROUTE_KINDS = frozenset({"MeshHTTPRoute", "MeshTCPRoute"})
"""Policies that say where traffic goes, and that others may select."""
