"""One replica as one process: the store and its worker on one loop.

The embedded form is the default for a cluster of one. It uses the same classes behind the
same port as several processes do; only the socket between store and worker is left out.
"""

from __future__ import annotations

import asyncio
import signal

from cp.config_schema import Config
from cp.store import store_config
from cp.worker import Worker, run_until
from raftstore.embedded import EmbeddedStore


async def run_embedded(config: Config) -> None:
    """Run store and worker on this loop until SIGTERM or SIGINT. Raises Unusable, StoreError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = await EmbeddedStore.open(store_config(config))
    try:
        await run_until(stop, Worker(config, store))
    finally:
        await store.close()
