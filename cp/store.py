"""The store process of a replica: the control plane's settings, as the log understands them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from cp.config_schema import Config
from cp.ports import StoreUnusable
from raftstore.errors import StoreError
from raftstore.settings import BadConfig, StoreConfig
from raftstore.store_process import Exit, exit_of, run_store

# The longest random election timeout, in units of the shortest: candidates must not collide.
_ELECTION_SPREAD = 2.0


def store_config(config: Config, socket_path: str = "") -> StoreConfig:
    """The store's settings. Raises StoreUnusable naming the setting."""
    raft = config.raft
    peers = dict(peer.split("=", 1) for peer in raft.peers)
    if raft.advertise:
        peers[raft.node_id] = raft.advertise
    try:
        return StoreConfig(
            node_id=raft.node_id,
            data_dir=raft.data_dir,
            listen=raft.listen,
            peers=peers,
            tls_dir=raft.tls_dir,
            join=raft.join,
            socket_path=socket_path,
            election_timeout_min_s=raft.election_timeout,
            election_timeout_max_s=raft.election_timeout * _ELECTION_SPREAD,
        )
    except (BadConfig, ValueError) as error:
        raise StoreUnusable(f"raft: {error}") from error


async def run_replica_store(config: Config, socket_path: str, stop: asyncio.Event) -> None:
    """Run the store process of a replica until `stop`. Raises StoreUnusable for what a restart cannot mend."""
    with unusable_store():
        await run_store(store_config(config, socket_path), stop)


@contextlib.contextmanager
def unusable_store() -> Iterator[None]:
    """Turn a StoreError that a restart cannot mend into StoreUnusable."""
    try:
        yield
    except StoreError as error:
        if exit_of(error) in (Exit.BUG, Exit.DISK):
            raise
        raise StoreUnusable(f"the store cannot run: {error}") from error
