"""What a replica must be told to start. Everything is checked when made; errors name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from raftstore import limits
from raftstore.certs import BadCertificate, check_node_id
from raftstore.config import RaftConfig
from raftstore.errors import StoreError
from raftstore.transport import Address

DEFAULT_PORT = 5683
ELECTION_S_MIN = 0.1
# Entries applied in one turn. Each may hold ENTRY_TXNS_MAX transactions of some 30 microseconds.
APPLY_BATCH = 8


class BadConfig(StoreError):
    """A setting is missing or impossible; the message names it."""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One replica.

    peers: node id -> "host:port" of all voters of the first start, this replica's own entry
        may be left out. Empty: a cluster of one. Later changes are in the log and win.
    tls_dir: where ca.pem, <node_id>.pem and <node_id>.key are; only a cluster of one may
        do without.
    cluster_id: "" takes the CA's (raftstore/certs.py); without TLS, `node_id` alone.
    join: this replica is not among the first voters; it waits to be added.
    recover_from_peers: set the data aside (it is kept) and fetch everything from the others.
    socket_path: where workers connect; "" for none.
    election_*_s: seconds; see raftstore/config.py.
    snapshot_entries, snapshot_bytes: log beyond the last snapshot that makes a new one due.
    keep_entries: entries kept behind a snapshot for followers that lag.
    """

    node_id: str
    data_dir: str
    listen: str = f"0.0.0.0:{DEFAULT_PORT}"
    peers: Mapping[str, str] = field(default_factory=dict)
    tls_dir: str = ""
    cluster_id: str = ""
    join: bool = False
    recover_from_peers: bool = False
    socket_path: str = ""
    election_timeout_min_s: float = 0.3
    election_timeout_max_s: float = 0.6
    snapshot_entries: int = limits.SNAPSHOT_ENTRIES
    snapshot_bytes: int = limits.SNAPSHOT_BYTES
    keep_entries: int = limits.SNAPSHOT_KEEP_ENTRIES

    def __post_init__(self) -> None:
        try:
            for node_id in (self.node_id, *self.peers):
                check_node_id(node_id)
        except BadCertificate as error:
            raise BadConfig(str(error)) from error
        if not self.data_dir:
            raise BadConfig("data_dir: must name a directory")
        parse_address("listen", self.listen)
        for node_id, address in self.peers.items():
            parse_address(f"peers[{node_id}]", address)
        if self.others() and not self.tls_dir:
            raise BadConfig(
                "tls_dir: replicas speak mutual TLS; make a CA and certificates with `raftmesh cert`"
            )
        if self.recover_from_peers and not self.others():
            raise BadConfig("recover_from_peers: there are no peers to recover from")
        try:
            self.raft()
        except ValueError as error:
            raise BadConfig(str(error).removeprefix("RaftConfig.")) from error
        for name in ("snapshot_entries", "snapshot_bytes", "keep_entries"):
            if getattr(self, name) < 1:
                raise BadConfig(f"{name}: {getattr(self, name)} must be at least 1")

    def raft(self) -> RaftConfig:
        """The times by which Raft runs. Raises ValueError naming an impossible one."""
        if self.election_timeout_min_s < ELECTION_S_MIN:
            raise ValueError(
                f"election_timeout_min_s = {self.election_timeout_min_s:g}: must be at least {ELECTION_S_MIN} s, "
                "or a pause of the system costs an election"
            )
        return RaftConfig(
            election_timeout_min_s=self.election_timeout_min_s,
            election_timeout_max_s=self.election_timeout_max_s,
            heartbeat_s=min(0.05, self.election_timeout_min_s / 4),
            apply_batch=APPLY_BATCH,
        )

    def others(self) -> dict[str, Address]:
        """The other replicas' addresses."""
        return {n: parse_address(n, a) for n, a in self.peers.items() if n != self.node_id}

    def first_voters(self) -> list[str]:
        voters = {*self.peers, self.node_id}
        return sorted(voters - {self.node_id} if self.join else voters)

    @classmethod
    def from_json(cls, text: str) -> StoreConfig:
        """Raises BadConfig naming what is wrong."""
        try:
            given: Any = json.loads(text)
        except ValueError as error:
            raise BadConfig(f"the configuration is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise BadConfig("the configuration must be a JSON object")
        known = {f.name: f for f in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise BadConfig(f"{name}: no such setting; there are {', '.join(known)}")
            _check_type(name, str(known[name].type), value)
        for name in ("node_id", "data_dir"):
            if name not in given:
                raise BadConfig(f"{name}: must be set")
        return cls(**given)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "Mapping[str, str]": (dict,),
}


def _check_type(name: str, wanted: str, value: object) -> None:
    right = isinstance(value, _TYPES[wanted]) and (wanted == "bool" or not isinstance(value, bool))
    if right and isinstance(value, dict):
        right = all(isinstance(item, str) for item in value.values())
    if not right:
        raise BadConfig(f"{name}: {value!r:.60} is not of type {wanted}")


def parse_address(name: str, text: str) -> Address:
    """("host", port) of "host:port" or "[v6]:port". Raises BadConfig naming `name`."""
    host, colon, port = text.rpartition(":")
    if len(text) > limits.ADDRESS_CHARS_MAX:
        raise BadConfig(f"{name}: {len(text)} characters; the limit is {limits.ADDRESS_CHARS_MAX}")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadConfig(f"{name}: {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
