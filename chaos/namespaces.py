"""A network of our own: one namespace per replica, a bridge between them, and a way in for clients.

    client (10.77.N.254) ─┐
    replica 1 (10.77.N.1) ─┤ bridge, in a namespace of its own
    replica 2 (10.77.N.2) ─┤
    ...                   ─┘

Faults are rules of iptables in the namespace of the receiver: a cut from a to b drops, at
b, what comes from a. They touch the traffic between replicas alone; clients always get
through, since a client that reaches an isolated replica is the more dangerous one.

Names carry the process id of the run, so that two runs do not meet, and what a killed run
has left behind is removed by the next.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType

from chaos.shell import CommandFailed, run

PREFIX = "rmx"
RAFT_PORT = "5683"
DEVICE = "eth0"
PEERS_CLASS = "1:2"
TBF_LEAST = ("rate", "1gbit", "burst", "1mb", "latency", "1s")


class Network:
    """`size` namespaces; `address(n)` is the address of replica n, from 1 on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tag = f"{PREFIX}{os.getpid()}"
        self.subnet = f"10.77.{os.getpid() % 250}"
        self.client_address = f"{self.subnet}.254"

    def address(self, number: int) -> str:
        return f"{self.subnet}.{number}"

    def namespace(self, number: int) -> str:
        return f"{self.tag}-{number}"

    def inside(self, number: int, command: Sequence[str]) -> list[str]:
        """`command` as a process in the namespace of replica `number`.

        Not by `ip netns exec`, which takes a copy of all mounts: a disk that is unmounted would
        stay mounted there.
        """
        return ["nsenter", f"--net=/run/netns/{self.namespace(number)}", *command]

    async def __aenter__(self) -> Network:
        await remove_left_over()
        try:
            await self._make()
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._remove()

    # --- faults -----------------------------------------------------------------------------------

    async def cut(self, senders: Iterable[int], receivers: Iterable[int]) -> None:
        """Drop what `senders` send to `receivers`; call it both ways for a symmetric cut."""
        senders = list(senders)
        for receiver in receivers:
            for sender in senders:
                if sender != receiver:
                    await self._rule(receiver, "-A", "INPUT", "-s", self.address(sender), "-j", "DROP")

    async def lose(self, share: float) -> None:
        """Drop each packet between replicas with probability `share`."""
        for receiver in self.numbers:
            for sender in self.numbers:
                if sender != receiver:
                    chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share:g}")
                    await self._rule(
                        receiver, "-A", "INPUT", "-s", self.address(sender), *chance, "-j", "DROP"
                    )

    async def dropped(self) -> int:
        """How many packets the rules of `cut` and `lose` have met."""
        listings = [await self._rule(number, "-L", "INPUT", "-v", "-x", "-n") for number in self.numbers]
        return sum(int(line.split()[0]) for each in listings for line in each.splitlines()[2:])

    async def redirect(self, sender: int, receiver: int, port: int) -> None:
        """Let new connections of `sender` to `receiver` end at `port` of the client's address."""
        target = f"{self.client_address}:{port}"
        await self._rule(
            *(sender, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", self.address(receiver)),
            *("--dport", RAFT_PORT, "-j", "DNAT", "--to-destination", target),
        )

    @contextlib.asynccontextmanager
    async def resetting(self) -> AsyncIterator[None]:
        """Within: every packet of a connection between replicas is answered by a reset."""
        rules = [(end, number) for number in self.numbers for end in ("--dport", "--sport")]
        for end, number in rules:
            await self._rule(
                *(number, "-A", "INPUT", "-p", "tcp", end, RAFT_PORT),
                *("-j", "REJECT", "--reject-with", "tcp-reset"),
            )
        try:
            yield
        finally:
            for number in self.numbers:
                await self._rule(number, "-F", "INPUT")

    async def shape(self, *discipline: str) -> None:
        """Let what replicas send to each other pass a queueing discipline of the kernel.

        A class of its own for it (htb), so that clients are spared.
        """
        for number in self.numbers:
            await self._tc(
                number, "qdisc", "add", "dev", DEVICE, "root", "handle", "1:", "htb", "default", "1"
            )
            for name in ("1:1", PEERS_CLASS):
                rate = ("htb", "rate", "10gbit", "quantum", "60000")
                await self._tc(number, "class", "add", "dev", DEVICE, "parent", "1:", "classid", name, *rate)
            await self._tc(
                number, "qdisc", "add", "dev", DEVICE, "parent", PEERS_CLASS, "handle", "2:", *discipline
            )
            for other in self.numbers:
                await self._rule(
                    *(number, "-t", "mangle", "-A", "POSTROUTING", "-d", self.address(other)),
                    *("-j", "CLASSIFY", "--set-class", PEERS_CLASS),
                )

    async def shaped_bytes(self) -> int:
        """How much has gone through the discipline of `shape`."""
        total = 0
        for number in self.numbers:
            found = json.loads(await self._tc(number, "-s", "-j", "qdisc", "show", "dev", DEVICE))
            total += sum(each["bytes"] for each in found if each["handle"] == "2:")
        return total

    async def can_shape(self, discipline: str) -> bool:
        """Whether this kernel knows the queueing discipline of that name."""
        arguments = TBF_LEAST if discipline == "tbf" else ()
        try:
            await self._tc(1, "qdisc", "add", "dev", DEVICE, "root", discipline, *arguments)
        except CommandFailed:
            return False
        await self._tc(1, "qdisc", "del", "dev", DEVICE, "root")
        return True

    async def heal(self) -> None:
        """No rule is left."""
        for number in self.numbers:
            await self._rule(number, "-F", "INPUT")
            await self._rule(number, "-t", "nat", "-F", "OUTPUT")
            await self._rule(number, "-t", "mangle", "-F", "POSTROUTING")
            with contextlib.suppress(CommandFailed):  # there was none
                await self._tc(number, "qdisc", "del", "dev", DEVICE, "root")

    @property
    def numbers(self) -> range:
        return range(1, self.size + 1)

    async def _rule(self, number: int, *rule: str) -> str:
        return await run(*self.inside(number, ["iptables", "-w", *rule]))

    async def _tc(self, number: int, *command: str) -> str:
        return await run(*self.inside(number, ["tc", *command]))

    # --- making and removing ----------------------------------------------------------------------

    async def _make(self) -> None:
        hub = f"{self.tag}-hub"
        await run("ip", "netns", "add", hub)
        await run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        await run("ip", "-n", hub, "link", "set", "br0", "up")
        for number in self.numbers:
            name = self.namespace(number)
            await run("ip", "netns", "add", name)
            end = ["type", "veth", "peer", "name", DEVICE, "netns", name]
            await run("ip", "-n", hub, "link", "add", f"v{number}", *end)
            await run("ip", "-n", hub, "link", "set", f"v{number}", "master", "br0", "up")
            await run("ip", "-n", name, "addr", "add", f"{self.address(number)}/24", "dev", DEVICE)
            await run("ip", "-n", name, "link", "set", DEVICE, "up")
            await run("ip", "-n", name, "link", "set", "lo", "up")
        await run("ip", "link", "add", self.tag, "type", "veth", "peer", "name", "v0", "netns", hub)
        await run("ip", "-n", hub, "link", "set", "v0", "master", "br0", "up")
        await run("ip", "addr", "add", f"{self.client_address}/24", "dev", self.tag)
        await run("ip", "link", "set", self.tag, "up")

    async def _remove(self) -> None:
        await remove(self.tag)


async def remove_left_over() -> None:
    """Remove the networks of runs that were killed before they could."""
    for tag in {name.partition("-")[0] for name in await _namespaces()}:
        pid = tag.removeprefix(PREFIX)
        if pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            await remove(tag)


async def remove(tag: str) -> None:
    """Remove the network of one run; whatever of it is there."""
    for name in await _namespaces():
        if name.partition("-")[0] == tag:
            await run("ip", "netns", "del", name)
    with contextlib.suppress(CommandFailed):  # it goes with its peer's namespace
        await run("ip", "link", "del", tag)


async def _namespaces() -> list[str]:
    names = (line.split()[0] for line in (await run("ip", "netns", "list")).splitlines() if line.strip())
    return [name for name in names if name.startswith(PREFIX)]
