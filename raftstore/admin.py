"""Running a cluster: members and their addresses, leadership, and calls from replica to replica.

Consensus knows members by id alone. Their addresses come from the roster in the log
(members.py), else from the configuration; replicas tell each other all addresses that they
know whenever a link comes up, and keep them in addresses.json beside the log.

A request for the leader that reaches another replica is passed on as a *call*: a numbered
frame that is answered by one, or times out. Changes of the membership need none: they are
transactions (membership.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from msgspec.structs import replace

from raftstore.certs import check_node_id
from raftstore.errors import StoreError, Unavailable
from raftstore.frames import Value
from raftstore.joining import Joining
from raftstore.members import MEMBERS_MAX, Refused, Roster, Wanted
from raftstore.membership import Membership, is_anywhere
from raftstore.node import Fate, ProposeResult
from raftstore.settings import parse_address
from raftstore.transport import Address
from raftstore.types import Txn

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
CALLS_WAITING_MAX = 100
POLL_S = 0.02


class Admin:
    """The administrative half of a Replica. Every method may be called on any replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._prefix = f"{replica.id}-{uuid4().hex[:12]}"
        self._requests = count(1)
        self._numbers = count(1)
        self._calls: dict[int, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._path = Path(replica.config.data_dir) / "addresses.json"
        self.addresses: dict[str, str] = self._remembered() | dict(replica.config.peers)
        self.addresses.setdefault(replica.id, replica.config.listen)
        self.membership = Membership(replica)
        self.joining = Joining(replica)

    def named(self, txn: Txn) -> Txn:
        """With a request id, without which a retry could apply twice, and with `via`."""
        if txn.request_id and txn.via:
            return txn
        request_id = txn.request_id or f"{self._prefix}-{next(self._requests)}"
        return replace(txn, request_id=request_id, via=txn.via or self._replica.id)

    # --- what operators ask -----------------------------------------------------------------

    async def transfer(self, to: str) -> None:
        """Make `to` the leader; returns when it is. Raises Refused, Unavailable."""
        await self._on_leader("transfer", to, "")

    async def add(self, node_id: str, address: str, voter: bool = True, replaces: str = "") -> str:
        """See Membership.add; the same for the two below."""
        return await self.membership.add(node_id, address, voter=voter, replaces=replaces)

    async def promote(self, node_id: str) -> str:
        return await self.membership.promote(node_id)

    async def remove(self, node_id: str) -> str:
        return await self.membership.remove(node_id)

    async def token(self, voter: bool, node_id: str, valid_s: float, replaces: str = "") -> str:
        """A join token, for one replica. See Joining.token."""
        return await self.joining.token(voter, node_id, valid_s, replaces)

    async def join(self, request: str) -> str:
        """Answer a new replica. See Joining.join."""
        return await self.joining.join(request)

    async def snapshot(self) -> int:
        """Write a snapshot of this replica now and drop the log that it covers; its index."""
        return await self._replica.compactor.take()

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        self.follow(self.membership.roster)

    def tick(self, now: float) -> None:
        self.membership.tick(now)

    def follow(self, roster: Roster) -> None:
        """Talk to whom the roster names, and no more to who is gone, once it has had time to learn that."""
        for node_id, line in roster.items():
            if line.wanted is not Wanted.REMOVED:
                self._learn(node_id, line.address)
        parting = self.membership.parting
        gone = [n for n in self.addresses if n not in parting and self.membership.is_gone(n)]
        for node_id in gone:
            if node_id == self._replica.id:
                log.warning("%s is removed from the cluster: it can be stopped", node_id)
            else:
                log.info("%s is removed from the cluster", node_id)
                del self.addresses[node_id]
        if gone:
            self._remember()
        self._replica.node.set_observers(set(self.addresses))
        self._dial()

    async def close(self) -> None:
        await self.membership.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def peer_up(self, peer: str) -> None:
        known = {node_id: where for node_id, where in self.addresses.items() if not is_anywhere(where)}
        self._replica.send(peer, ("addresses", known))

    def frame(self, peer: str, name: str, frame: tuple[Value, ...]) -> bool:
        """Take a frame if it is one of ours. Raises ValueError for a wrong shape."""
        match frame:
            case ("addresses", dict(known)) if len(known) <= MEMBERS_MAX:
                try:
                    self._told(known)
                except StoreError as error:
                    raise ValueError(str(error)) from error
            case ("call", int(number), str(op), str(node_id), str(argument)):
                self._spawn(self._answer(peer, number, op, node_id, argument))
            case ("reply", int(number), str(error)):
                waiting = self._calls.get(number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(error)
            case _:
                if name in ("addresses", "call", "reply"):
                    raise ValueError("wrong shape")
                return False
        return True

    # --- calls --------------------------------------------------------------------------------

    async def _on_leader(self, op: str, node_id: str, argument: str) -> None:
        leader = self._replica.node.leader
        if leader is None:
            raise Unavailable("no leader is known: try again when one is elected")
        if leader == self._replica.id:
            error = await self._do(op, node_id, argument)
        else:
            error = await self._call(leader, op, node_id, argument)
        if error:
            raise Refused(error)

    async def _call(self, peer: str, op: str, node_id: str, argument: str) -> str:
        number, waiting = next(self._numbers), asyncio.get_running_loop().create_future()
        self._calls[number] = waiting
        try:
            if not self._replica.send(peer, ("call", number, op, node_id, argument)):
                raise Unavailable(f"the leader {peer} cannot be reached", peer)
            self._replica.kick()
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return str(await waiting)
        except TimeoutError:
            raise Unavailable(f"the leader {peer} did not answer in {CALL_TIMEOUT_S:g} s", peer) from None
        finally:
            del self._calls[number]

    async def _answer(self, peer: str, number: int, op: str, node_id: str, argument: str) -> None:
        error = await self._do(op, node_id, argument)
        self._replica.send(peer, ("reply", number, error))
        self._replica.kick()

    async def _do(self, op: str, node_id: str, argument: str) -> str:
        """Carry out a request as the leader; returns "" or why not."""
        if not self._replica.node.is_leader:
            return f"{self._replica.id} does not lead any more"
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                if op == "transfer":
                    return await self.hand_over(node_id)
        except TimeoutError:
            return f"{op} {node_id}: not done after {CALL_TIMEOUT_S:g} s"
        return f"{op}: no such operation"

    async def hand_over(self, to: str) -> str:
        """Leader only: let `to` lead; returns "" when it does, or why not."""
        node = self._replica.node
        if node.leader == to:
            return ""
        why = node.transfer_leadership(to)
        while not why and node.leader != to:
            self._replica.kick()
            await asyncio.sleep(POLL_S)
            if node.is_leader and node.transferring is None:
                return f"{to} did not take over in time"
            if node.leader not in (None, self._replica.id, to):
                return f"{node.leader} leads now"
        return why

    async def change(self, op: str, node_id: str) -> str:
        """Leader only: "add" or "remove" a voter; returns "" when it is committed, or why not."""
        node = self._replica.node
        start = node.add_member if op == "add" else node.remove_member
        done: asyncio.Future[ProposeResult] = asyncio.get_running_loop().create_future()
        start(node_id, lambda result: None if done.done() else done.set_result(result))
        self._replica.kick()
        result = await done
        if result.fate is Fate.APPLIED:
            return ""
        return result.reason or f"leadership was lost; look at the members ({result.fate})"

    # --- addresses ------------------------------------------------------------------------------

    def _told(self, known: Mapping[str, Value]) -> None:
        """What a peer knows. Raises BadCertificate, BadConfig for what can be no id or address."""
        for node_id, address in known.items():
            if is_anywhere(self.addresses.get(node_id)) and not self.membership.is_gone(node_id):
                self._learn(check_node_id(node_id), str(address))

    def _learn(self, node_id: str, address: str) -> None:
        parse_address(node_id, address)
        if self.addresses.get(node_id) == address or len(self.addresses) >= MEMBERS_MAX:
            return
        self.addresses[node_id] = address
        log.info("%s is at %s", node_id, address)
        self._remember()
        self._dial()

    def _remember(self) -> None:
        """Only a cache: where it cannot be written, on a full disk say, the replica goes on without."""
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(self.addresses, indent=2))
            temporary.rename(self._path)
        except OSError as error:
            log.warning("%s is not written: %s", self._path, error.strerror or error)

    def _remembered(self) -> dict[str, str]:
        try:
            found: Any = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}  # only a cache: the configuration and the peers know them too
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _dial(self) -> None:
        if self._replica.transport is None:
            return
        peers: dict[str, Address] = {}
        for node_id, address in self.addresses.items():
            peers[node_id] = parse_address(node_id, address)
        self._replica.transport.set_peers(peers)

    def _spawn(self, work: Awaitable[None]) -> None:
        if len(self._tasks) >= CALLS_WAITING_MAX:
            raise ValueError(f"more than {CALLS_WAITING_MAX} calls at a time")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
