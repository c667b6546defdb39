"""The real state machine and snapshot format, with the few questions that the checkers ask.

A write of the simulation puts a key that is named by its request id, so that the record's
version is the index at which it took effect, and an effect that happens twice shows. A
client's write also puts one of a few registers, which others write and read.
"""

from __future__ import annotations

from dataclasses import replace

from raftstore.codec import encode_batch, encode_txn
from raftstore.machine import Applied, StateMachine
from raftstore.snapshot import SnapshotReader
from raftstore.snapshot import header_of as header_of
from raftstore.state import Requests, State
from raftstore.types import Key, Put, Txn, VersionIs

CLUSTER_ID = "sim"


def key_of(request_id: str) -> Key:
    return Key("Write", "sim", request_id)


def command_of(request_id: str, now: float) -> bytes:
    """A batch of one transaction, as a leader makes it."""
    txn = Txn(writes=(Put(key_of(request_id), b"x"),), request_id=request_id, via="sim")
    return encode_batch(int(now * 1000), [txn])


def register_key(register: str) -> Key:
    return Key("Register", "sim", register)


def txn_of(request_id: str, register: str, expected: int | None) -> bytes:
    """A client's write: its own key and a register, in one transaction.

    expected: the register's version that it insists on; None: it does not care.
    """
    guards = () if expected is None else (VersionIs(register_key(register), expected),)
    value = request_id.encode()
    writes = (Put(key_of(request_id), value), Put(register_key(register), value))
    return encode_txn(Txn(writes=writes, guards=guards, request_id=request_id, via="sim"))


class SimMachine:
    """What a Node applies to. `state` is the real one."""

    def __init__(self) -> None:
        self._machine = StateMachine()

    @property
    def state(self) -> State:
        return self._machine.state

    @state.setter
    def state(self, state: State) -> None:
        self._machine.state = state

    def apply(self, index: int, term: int, command: bytes) -> Applied:
        return self._machine.apply(index, term, command)

    def version(self, request_id: str) -> int:
        """The index at which the request took effect; 0 when it has not."""
        record = self.state.get(key_of(request_id))
        return record.version if record is not None else 0

    def register(self, register: str) -> tuple[str | None, int]:
        """Its value (the request that wrote it) and version; None and 0 when it was never written."""
        record = self.state.get(register_key(register))
        return (record.value.decode(), record.version) if record is not None else (None, 0)

    def kept(self) -> State:
        """What goes into a snapshot."""
        return self.state


class ForgetsRequests(SimMachine):
    """Broken: no memory of request ids."""

    def apply(self, index: int, term: int, command: bytes) -> Applied:
        self.state = replace(self.state, requests=Requests())
        return super().apply(index, term, command)


class SnapshotsForgetRequests(SimMachine):
    """Broken: the memory of request ids is left out of snapshots."""

    def kept(self) -> State:
        return replace(self.state, requests=Requests())


def load(data: bytes) -> SnapshotReader:
    """A reader that has taken all of it; raises Corrupt."""
    reader = SnapshotReader(cluster_id=CLUSTER_ID)
    reader.feed(data)
    reader.finish()
    return reader
