"""What every handler of the API works with, passed explicitly."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from aiohttp import web

from cp.access import Access
from cp.api.documents import Documents
from cp.api.messages import Messages
from cp.config_schema import Config
from cp.live import LiveView
from cp.metrics import Metrics
from cp.resources import Resources
from cp.streams import Connections
from cp.verifier import Verifier
from raftstore.port import Store


@dataclass(frozen=True, slots=True)
class Context:
    """One worker: its settings, the log, the view folded from it, and the way to write."""

    config: Config
    store: Store
    live: LiveView
    resources: Resources
    metrics: Metrics
    user_tokens: Verifier
    access: Access
    documents: Documents = field(default_factory=Documents)
    messages: Messages = field(default_factory=Messages)
    connections: Connections = field(default_factory=Connections)
    hostname: str = field(default_factory=socket.gethostname)
    instance_id: str = ""

    @property
    def instance(self) -> str:
        """Names this process among all replicas and workers."""
        return self.instance_id or f"{self.hostname}-{self.config.raft.node_id}-{os.getpid()}"


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
