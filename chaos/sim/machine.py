"""The real state machine and snapshot format, with the few questions that the checkers ask.

A write of the simulation puts one key, named by its request id. So the record's version
is the index at which it took effect, and an effect that happens twice shows.
"""

from __future__ import annotations

from dataclasses import replace

from raftstore.codec import encode_batch
from raftstore.machine import Applied, StateMachine
from raftstore.snapshot import SnapshotReader, encode, header_of
from raftstore.state import Requests, State
from raftstore.types import Key, Put, Txn

CLUSTER_ID = "sim"


def key_of(request_id: str) -> Key:
    return Key("Write", "sim", request_id)


def command_of(request_id: str, now: float) -> bytes:
    """A batch of one transaction, as a leader makes it."""
    txn = Txn(writes=(Put(key_of(request_id), b"x"),), request_id=request_id, via="sim")
    return encode_batch(int(now * 1000), [txn])


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


def dump(machine: SimMachine, index: int, term: int, voters: tuple[str, ...]) -> bytes:
    """A snapshot file's bytes."""
    state = machine.kept()
    header = header_of(state, term=term, voters=voters, cluster_id=CLUSTER_ID, index=index)
    return b"".join(encode(header, state))


def load(data: bytes) -> SnapshotReader:
    """A reader that has taken all of it; raises Corrupt."""
    reader = SnapshotReader(cluster_id=CLUSTER_ID)
    reader.feed(data)
    reader.finish()
    return reader
