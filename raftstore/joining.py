"""The shell of join.py on a replica: tokens are made, and requests to join answered."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from raftstore import join
from raftstore.certs import BadCertificate, check_node_id
from raftstore.errors import Unavailable
from raftstore.join import Grant
from raftstore.members import OWN_KIND, Refused
from raftstore.membership import is_anywhere
from raftstore.types import Delete, Put, Scope, Txn, VersionIs, Write

if TYPE_CHECKING:
    from raftstore.replica import Replica

# Tokens are forgotten this long after they have expired; till then a retry gets its certificate again.
KEPT_MS = 24 * 3600 * 1000
TOKENS_MAX = 100


class Joining:
    """One replica's."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def token(self, voter: bool, node_id: str, valid_s: float, replaces: str = "") -> str:
        """A token that makes one replica: `node_id`, or any when "". Raises Refused, Unavailable.

        voter: whether the replica votes once it has caught up, or stays an observer.
        replaces: a member whose place the new replica takes; it votes then.
        """
        replica = self._replica
        if not replica.config.tls_dir:
            raise Refused("this replica runs without raft.tlsDir: there is no CA that could admit others")
        if not 0 < valid_s <= join.VALID_S_MAX:
            raise Refused(f"a join token is valid for at most {join.VALID_S_MAX // 3600} hours")
        if node_id:
            try:
                check_node_id(node_id)
            except BadCertificate as error:
                raise Refused(str(error)) from error
        await replica.read_index()
        if replaces and replaces not in replica.node.voters:
            raise Refused(f"{replaces} is not a voter of {', '.join(replica.node.voters)}")
        now_ms = time.time_ns() // 1_000_000
        stale = self._stale(now_ms)
        token = join.new_token(replica.cluster_id)
        grant = Grant(token.key, now_ms + int(valid_s * 1000), voter, node_id, replaces=replaces)
        writes: tuple[Write, ...] = (Put(join.grant_key(token.id), grant.encode()), *stale)
        await replica.submit(Txn(writes, cause="join token"))
        return token.text()

    async def join(self, request: str) -> str:
        """Register the replica that asks, and answer with its certificate. Both are JSON. Raises Refused."""
        replica = self._replica
        asked = _object(request)
        await replica.read_index()
        record = replica.machine.state.get(join.grant_key(str(asked.get("token", ""))))
        grant = Grant.decode(record.value) if record else None
        node_id, address, mark = join.check_request(asked, grant, time.time_ns() // 1_000_000)
        assert grant is not None
        assert record is not None
        if not grant.used_by:
            self._refuse_known(node_id)
        voters = self._voters()
        ca, certificate = await asyncio.get_running_loop().run_in_executor(
            None, join.sign, replica.config.tls_dir, asked, node_id
        )
        if not grant.used_by:
            spent = Put(record.key, join.used(grant, mark).encode())
            others = Txn((spent,), guards=(VersionIs(record.key, record.version),))
            await replica.admin.membership.add(
                node_id, address, voter=grant.voter, replaces=grant.replaces, others=others, wait=False
            )
        return json.dumps(join.make_answer(grant, ca, certificate, voters))

    def _refuse_known(self, node_id: str) -> None:
        """A token makes a new replica; it must not make a second one with the name of a first."""
        replica = self._replica
        if node_id in replica.admin.addresses or node_id in replica.node.voters:
            raise Refused(
                f"{node_id} is a member already: choose another raft.nodeId, or remove that replica first"
            )

    def _voters(self) -> dict[str, str]:
        """Where the joiner finds the voters."""
        replica = self._replica
        known = {voter: replica.admin.addresses.get(voter) for voter in replica.node.voters}
        lost = [voter for voter, address in known.items() if is_anywhere(address)]
        if lost:
            raise Unavailable(
                f"nobody knows where {', '.join(lost)} is reached: set its raft.advertise to HOST:PORT"
            )
        return {voter: address for voter, address in known.items() if address}

    def _stale(self, now_ms: int) -> list[Delete]:
        """Deletions of tokens nobody can use any more. Raises Refused when there are too many others."""
        stale, fresh = [], 0
        for record in self._replica.machine.state.scan(Scope(OWN_KIND)):
            if record.key.name.startswith("join-token-"):
                if Grant.decode(record.value).expires_ms + KEPT_MS < now_ms:
                    stale.append(Delete(record.key))
                else:
                    fresh += 1
        if fresh >= TOKENS_MAX:
            raise Refused(
                f"there are {fresh} join tokens already; they are forgotten a day after they expire"
            )
        return stale


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if len(text) <= join.MESSAGE_BYTES_MAX else None
    except (ValueError, RecursionError):  # the latter of brackets within brackets
        found = None
    if not isinstance(found, dict):
        raise Refused("the request to join is not a JSON object of a reasonable size")
    return found
