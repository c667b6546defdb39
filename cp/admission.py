"""Who may open an xDS stream: the token of a proxy is checked against what it claims to be.

An empty claim of a token allows any value; each other one must fit what the proxy brought
and, when the log knows the proxy already, what is stored: a token cannot take over a name
whose tags it does not cover.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cp.config_schema import Config
from cp.live import LiveView
from cp.registration import Proxy, proxy_of
from cp.tokens import ZONE, InvalidToken, of_dataplanes
from cp.verifier import verifier
from mesh.codec import decode
from mesh.errors import BadRequest, Invalid
from mesh.resource import WORKLOAD, Resource
from xds.source import NodeInfo, Refused


class TokenAdmission:
    """Admits proxies by token, unless the configuration asks for none (xds.source.Admission).

    Making one raises Unusable for a configured key that is none.
    """

    def __init__(self, live: LiveView, config: Config, clock: Callable[[], float] = time.time) -> None:
        authn = config.dp_server.authn
        self._live = live
        self._zone = config.multizone.zone.name
        self._dataplanes = authn.dp_proxy.type != "none"
        self._zone_proxies = authn.zone_proxy.type != "none"
        self._of_dataplanes = verifier(
            authn.dp_proxy.dp_token.validator, "dpServer.authn.dpProxy.dpToken.validator"
        )
        self._of_zones = verifier(
            authn.zone_proxy.zone_token.validator, "dpServer.authn.zoneProxy.zoneToken.validator"
        )
        self._clock = clock

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        proxy = proxy_of(node)
        token = headers.get("authorization", "").removeprefix("Bearer ").strip()
        try:
            if proxy.kind == "Dataplane":
                if self._dataplanes:
                    self._check_dataplane(proxy, token)
            elif self._zone_proxies:
                self._check_zone_proxy(proxy, token)
        except InvalidToken as error:
            raise Refused("UNAUTHENTICATED", f"authentication failed: {error}") from error

    def _check_dataplane(self, proxy: Proxy, token: str) -> None:
        claims = self._of_dataplanes.verify(
            self._live.view, of_dataplanes(proxy.mesh), _given(token), self._clock()
        )
        _equal("proxy name from requestor", proxy.name, claims.get("Name"))
        _equal("proxy mesh from requestor", proxy.mesh, claims.get("Mesh"))
        if claims.get("Type") not in (None, "", "dataplane"):
            raise InvalidToken(f"the token is for a proxy of type {claims['Type']!r}, not dataplane")
        for resource in self._as_brought_and_stored(proxy):
            _check_tags(resource, claims.get("Tags") or {})
            _equal("workload of the proxy", resource.labels.get(WORKLOAD, ""), claims.get("Workload"))

    def _check_zone_proxy(self, proxy: Proxy, token: str) -> None:
        claims = self._of_zones.verify(self._live.view, ZONE, _given(token), self._clock())
        wanted = "ingress" if proxy.kind == "ZoneIngress" else "egress"
        scope = claims.get("Scope")
        if not isinstance(scope, list) or wanted not in scope:
            raise InvalidToken(f"the token's scope {scope!r} does not contain {wanted!r}")
        _equal("zone of this control plane", self._zone, claims.get("Zone"))

    def _as_brought_and_stored(self, proxy: Proxy) -> Iterable[Resource]:
        stored = self._live.view.get(*proxy.key)
        if stored is not None:
            yield stored
        if proxy.document is not None:
            try:
                yield decode(proxy.document, kind=proxy.kind, mesh=proxy.mesh or None, name=proxy.name)
            except (BadRequest, Invalid) as error:
                raise Refused("INVALID_ARGUMENT", f"dataplane.resource: {error}") from error
        elif stored is None:
            return  # nothing to compare yet; registration waits for it, and refuses what is absent


def _given(token: str) -> str:
    if not token:
        raise InvalidToken("the request carries no token")
    return token


def _equal(what: str, asked: str, claim: Any) -> None:
    if claim and claim != asked:
        raise InvalidToken(f"{what}: {asked} is different than in token: {claim}")


def _check_tags(dataplane: Resource, allowed: Any) -> None:
    """Every value that the proxy has for a tag of the token must be one that the token allows."""
    if not isinstance(allowed, dict):
        raise InvalidToken("the token's tags are no map")
    for tags in dataplane.spec.tag_sets:
        for tag, values in allowed.items():
            value = tags.get(tag)
            if value is None:
                raise InvalidToken(f"dataplane has no tag {tag!r} required by the token")
            if value not in values:
                listed = " ".join(map(str, values))
                raise InvalidToken(
                    f"dataplane contains tag {tag!r} with value {value!r} which is not allowed with this "
                    f"token. Allowed values in token are [{listed}]"
                )
