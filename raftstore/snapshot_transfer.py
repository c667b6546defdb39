"""A snapshot from the leader to a follower that the log does not reach any more.

Over the peer connection, among everything else:

    leader                                        follower
    ("snapshot", index, size, identity)    ->
                                           <-     ("snapshot_at", index, offset)   send from here
    ("snapshot_data", index, offset,
        crc32c, bytes), ...                ->
                                           <-     ("snapshot_at", index, offset)   after each chunk

At most TRANSFER_WINDOW_BYTES are under way, so that heartbeats find room between. `offset` ==
`size` says: have it, or do not want it. A lower one than before is a sign of life.

A transfer survives a broken link and a restart of the follower: what has come lies in a file,
`identity` (the checksum of all bytes) says of which snapshot, and the follower asks for the
rest when it is offered again. The leader keeps file and log for it (snapshot_sending.py).

Nothing is believed before all of it has been verified (snapshot.py), and the file is
durable here before the node jumps to it (snapshot_receiving.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftstore.frames import Value
from raftstore.snapshot_receiving import Offer, Receiver
from raftstore.snapshot_sending import Sender

if TYPE_CHECKING:
    from raftstore.replica import Replica

_CRC_MAX = 2**32 - 1


class Transfers:
    """Both sides, for one replica."""

    def __init__(self, replica: Replica) -> None:
        self.sender = Sender(replica)
        self.receiver = Receiver(replica)

    def needed(self, peer: str) -> None:
        """See Sender.needed; the same for the next."""
        self.sender.needed(peer)

    def held(self) -> dict[str, int]:
        return self.sender.held()

    def frame(self, peer: str, name: str, frame: tuple[Value, ...]) -> bool:
        """Take a frame if it is one of ours. Raises ValueError for a wrong shape."""
        match frame:
            case ("snapshot", int(index), int(size), int(identity)) if (
                index > 0 and size > 0 and 0 <= identity <= _CRC_MAX
            ):
                self.receiver.offered(peer, Offer(index, size, identity))
            case ("snapshot_at", int(index), int(offset)) if offset >= 0:
                self.sender.confirmed(peer, index, offset)
            case ("snapshot_data", int(index), int(offset), int(crc), bytes(data)):
                self.receiver.chunk(peer, index, offset, crc, data)
            case _:
                if name.startswith("snapshot"):
                    raise ValueError("wrong shape")
                return False
        return True

    def peer_down(self, peer: str) -> None:
        self.sender.peer_down(peer)
        self.receiver.peer_down(peer)

    def tick(self, now: float) -> None:
        self.sender.tick(now)
        self.receiver.tick()

    async def close(self) -> None:
        self.sender.close()
        await self.receiver.close()
