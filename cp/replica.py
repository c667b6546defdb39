"""One replica as one process: the store and its worker on one loop.

The embedded form is the default for a cluster of one. It uses the same classes behind the
same port as several processes do; only the socket between store and worker is left out.
"""

from __future__ import annotations

import asyncio
import signal

from cp.config_schema import Config
from cp.store import store_config, unusable_store
from cp.worker import Worker, run_until
from raftstore.embedded import EmbeddedStore


async def run_embedded(config: Config) -> None:
    """Run store and worker on this loop until SIGTERM or SIGINT.

    Raises Unusable, and the error that ended the store: a worker alone could only refuse everything.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with unusable_store():
        store = await EmbeddedStore.open(store_config(config))
    try:
        await serve(stop, store, Worker(config, store))
    finally:
        await store.close()


async def serve(stop: asyncio.Event, store: EmbeddedStore, worker: Worker) -> None:
    """Run the worker until `stop`, or until the store has failed; then raise its error."""
    store.failed.add_done_callback(lambda _: stop.set())
    await run_until(stop, worker)
    if store.failed.done():
        await store.failed
