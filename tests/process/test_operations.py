"""What docs/operations.md tells operators to do, done: real commands against real replicas."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cp.up.client import Api, ApiError
from cp.up.local import HOST, LocalMesh, Replica
from cp.up.processes import Process, python
from cp.up.story import until
from dp.ports import free_ports
from tests.process.cluster import corrupt
from tests.process.conftest import led, ready
from tests.process.test_cluster_api import default_mesh, path, timeout_policy

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


async def raftmesh(*arguments: str) -> Done:
    """Run `raftmesh ARGUMENTS` as a user does."""
    process = await asyncio.create_subprocess_exec(
        *python("cp.cli", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


async def succeed(*arguments: str) -> str:
    done = await raftmesh(*arguments)
    assert done.status == 0, f"raftmesh {' '.join(arguments)}: {done.err}{done.out}"
    return done.out


async def fail(*arguments: str) -> str:
    """The one line that tells why."""
    done = await raftmesh(*arguments)
    assert done.status != 0, f"raftmesh {' '.join(arguments)} succeeded: {done.out}"
    assert done.err.startswith("Error: ") and done.err.count("\n") == 1, done.err
    return done.err


def at(replica: Replica) -> tuple[str, str]:
    return "--cp-address", replica.api


async def members(replica: Replica) -> dict[str, dict[str, Any]]:
    status = json.loads(await succeed("cluster", "members", "-o", "json", *at(replica)))
    return {member["id"]: member for member in status["members"]}


class Machines:
    """Replicas beyond the first three, each with files of its own."""

    def __init__(self, mesh: LocalMesh) -> None:
        self._mesh = mesh
        self.replicas: list[Replica] = []

    def directory(self, name: str) -> Path:
        made = self._mesh.directory / name
        made.mkdir(exist_ok=True)
        return made

    def make(self, name: str, raft: dict[str, Any], *arguments: str) -> Replica:
        """A replica with these raft settings, not started."""
        api, dp_server, diagnostics, mads = free_ports(4)
        settings = {
            "apiServer": {"http": {"interface": HOST, "port": api}, "https": {"enabled": False}},
            "dpServer": {"interface": HOST, "port": dp_server},
            "general": {"workDir": str(self.directory(name) / "work")},
            "diagnostics": {"serverPort": diagnostics},
            "monitoringAssignmentServer": {"port": mads},
            "raft": {"electionTimeout": "300ms", **raft},
        }
        config = self.directory(name) / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        process = Process(
            name,
            python("cp.cli", "cp", "run", "--config", str(config), *arguments),
            self._mesh.directory / "logs" / f"{name}.log",
        )
        replica = Replica(name, process, f"http://{HOST}:{api}", f"https://{HOST}:{dp_server}", config)
        self.replicas.append(replica)
        return replica

    async def join(self, name: str, token: str, through: Replica) -> Replica:
        """On a new machine: `raftmesh cluster join`, then `raftmesh cp run` with what it prints."""
        (port,) = free_ports(1)
        where = self.directory(name)
        printed = await succeed(
            *("cluster", "join", "--token", token, *at(through), "--node-id", name),
            *(
                "--address",
                f"{HOST}:{port}",
                "--tls-dir",
                str(where / "tls"),
                "--data-dir",
                str(where / "data"),
            ),
        )
        replica = self.make(name, yaml.safe_load(printed)["raft"])
        await replica.process.start()
        return replica


@pytest.fixture
async def machines(cluster: LocalMesh) -> Any:
    made = Machines(cluster)
    yield made
    for replica in made.replicas:
        await replica.process.stop()
        if replica.process.log_path.exists():
            sys.stderr.write(f"--- {replica.name} ---\n{replica.process.log_tail()}\n")


async def role_is(replica: Replica, node_id: str, role: str) -> bool:
    found = (await members(replica)).get(node_id)
    return found is not None and found["role"] == role and found["connected"]


async def unready(api: Api, replica: Replica) -> bool:
    return not await api.ready(replica.api)


async def leader_of(cluster: LocalMesh, api: Api) -> Replica:
    running = cluster.running_replicas()
    leader = await api.leader([replica.api for replica in running])
    return next(replica for replica in running if replica.name == leader)


async def test_a_replica_joins_as_observer_serves_and_is_promoted(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, second, third = cluster.replicas
    await default_mesh(api, cluster)
    index = await api.put(first.api, path("before"), timeout_policy("before"))
    token = (await succeed("cluster", "token", "--valid-for", "10m", *at(second))).strip()
    joined = await machines.join("cp-4", token, third)
    await until("it is ready", lambda: api.ready(joined.api))
    await until("it is an observer", lambda: role_is(joined, "cp-4", "observer"))
    assert (await api.get(joined.api, f"{path('before')}?index={index}"))["name"] == "before"
    index = await api.put(joined.api, path("through-it"), timeout_policy("through-it"))
    assert (await api.get(first.api, f"{path('through-it')}?index={index}"))["name"] == "through-it"

    assert await succeed("cluster", "promote", "cp-4", *at(joined)) == "cp-4 is a voter\n"
    await until("the leader counts it", lambda: role_is(first, "cp-4", "follower"))
    assert "cp-4 is a voter already" in await fail("cluster", "promote", "cp-4", *at(first))
    assert "has been used" in await fail(
        *("cluster", "join", "--token", token, *at(first), "--node-id", "cp-5"),
        *("--address", f"{HOST}:1", "--tls-dir", str(machines.directory("cp-5"))),
    )


async def test_observers_do_not_count_for_the_quorum(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, *others = cluster.replicas
    await default_mesh(api, cluster)
    token = (await succeed("cluster", "token", *at(first))).strip()
    observer = await machines.join("cp-4", token, first)
    await until("it is an observer", lambda: role_is(first, "cp-4", "observer"))
    for replica in others:
        await replica.process.kill()

    async def refused() -> bool:
        try:
            await api.put(first.api, path("after"), timeout_policy("after"))
        except ApiError as error:
            return error.status == 503
        return False

    await until("one voter of three with an observer takes no writes", refused)
    await others[0].process.start()
    await until("a leader again", led(api, [first, others[0]]))
    await observer.process.kill()
    assert await api.put(first.api, path("after"), timeout_policy("after"))


async def test_a_dead_replica_is_replaced_by_one_command(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, _, dead = cluster.replicas
    await default_mesh(api, cluster)
    await api.put(first.api, path("before"), timeout_policy("before"))
    await dead.process.kill()
    token = (await succeed("cluster", "token", "--replace", dead.name, *at(first))).strip()
    joined = await machines.join("cp-4", token, first)
    await until("it votes", lambda: role_is(first, "cp-4", "follower"))
    found = await members(first)
    assert set(found) == {"replica-1", "replica-2", "cp-4"}
    await cluster.replicas[1].process.kill()
    await until("the new one and one other are a quorum", led(api, [first, joined]))
    index = await api.put(joined.api, path("after"), timeout_policy("after"))
    assert (await api.get(first.api, f"{path('after')}?index={index}"))["name"] == "after"


async def read_is_refused(api: Api, removed: Replica) -> bool:
    """Not at once: the leader talks on with who is removed, for a second, and an answer is still right then."""
    try:
        await api.get(removed.api, f"{path('any')}?consistency=linearizable")
    except ApiError as error:
        return "is removed from the cluster" in str(error)
    return False


async def test_the_leader_is_removed_after_it_handed_over(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    await default_mesh(api, cluster)
    leader = await leader_of(cluster, api)
    others = [replica for replica in cluster.replicas if replica is not leader]
    told = await succeed("cluster", "remove", leader.name, *at(leader))
    assert told == f"{leader.name} is removed; its process can be stopped for good\n"
    await until("it is not ready any more", lambda: unready(api, leader))
    done = await raftmesh("cluster", "members", *at(leader))
    assert f"{leader.name} is removed from the cluster, and what it holds is out of date" in done.err
    await until("it answers for the others no more", lambda: read_is_refused(api, leader))
    await leader.process.stop()
    await until("another leads", led(api, others))
    assert set(await members(others[0])) == {replica.name for replica in others}
    assert await api.put(others[1].api, path("after"), timeout_policy("after"))


async def test_leadership_moves_and_bad_input_is_told_in_one_line(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    leader = await leader_of(cluster, api)
    other = next(replica for replica in cluster.replicas if replica is not leader)
    assert await succeed("cluster", "transfer-leader", other.name, *at(leader)) == f"{other.name} leads\n"
    await until("it is told to all", led(api, cluster.replicas))
    assert f"{other.name:<10}" in await succeed("cluster", "members", *at(leader))
    for arguments, why in [
        (("transfer-leader", "nobody"), "not another voter"),
        (("add", "cp 9", f"{HOST}:1"), "node id"),
        (("add", "cp-9", "nowhere"), "not HOST:PORT"),
        (("add", "cp-9", "0.0.0.0:5683"), "that others can reach"),
        (("add", other.name, f"{HOST}:1"), "is a voter"),
        (("add", "cp-9", f"{HOST}:1", "--replace", "cp-8"), "cp-8 is not a member"),
        (("promote", "cp-9"), "not an observer"),
        (("remove", "cp-9"), "not a member"),
        (("token", "--valid-for", "soon"), "not a duration"),
        (("token", "--valid-for", "1000h"), "at most 168 hours"),
        (("token", "--replace", "cp-9"), "not a voter"),
    ]:
        assert why in await fail("cluster", *arguments, *at(leader))


async def test_a_replica_that_does_not_come_is_pending_and_can_be_taken_back(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first = cluster.replicas[0]
    (port,) = free_ports(1)
    told = await succeed("cluster", "add", "cp-9", f"{HOST}:{port}", "--voter", *at(first))
    assert "under way" in told and f"no replica listens as cp-9 at {HOST}:{port} yet" in told
    assert "becomes a voter" in await succeed("cluster", "members", *at(first))
    assert "one change at a time" in await fail("cluster", "remove", "replica-2", *at(first))
    await succeed("cluster", "remove", "cp-9", *at(first))
    assert set(await members(first)) == {"replica-1", "replica-2", "replica-3"}
    await ready(api, cluster.replicas)


# --- disks, backups, lost quorums ----------------------------------------------------------------


def data_dir(replica: Replica) -> Path:
    return Path(yaml.safe_load(replica.config_path.read_text())["raft"]["dataDir"])


def damage(replica: Replica) -> Path:
    """Flip a bit in the middle of its log."""
    (segment,) = (data_dir(replica) / "wal").glob("*.wal")
    corrupt(segment, segment.stat().st_size // 2)
    return segment


async def test_a_log_is_read_offline(cluster: LocalMesh, api: Api, machines: Machines) -> None:
    await default_mesh(api, cluster)
    first = cluster.replicas[0]
    index = await api.put(first.api, path("seen"), timeout_policy("seen"))
    await first.process.stop()
    told = await succeed("log", "verify", str(data_dir(first)))
    assert "node replica-1 of cluster" in told and "the data is whole" in told and "\nlast entry: " in told
    lines = [json.loads(line) for line in (await succeed("log", "dump", str(data_dir(first)))).splitlines()]
    (entry,) = [line for line in lines if line["type"] == "entry" and line["index"] == index]
    puts = [write["put"] for txn in entry["transactions"] for write in txn["writes"]]
    assert ["MeshTimeout", "default", "seen"] in puts
    damage(first)
    assert "is corrupt at" in await fail("log", "verify", str(data_dir(first)))
    assert "is damaged at" in await fail("log", "dump", str(data_dir(first)))
    assert "is no data directory" in await fail("log", "verify", str(machines.directory("empty")))
    assert "is no data directory" in await fail("log", "dump", str(machines.directory("empty")))


async def test_a_corrupt_replica_says_so_and_is_rebuilt_by_a_flag(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, second, broken = cluster.replicas
    await default_mesh(api, cluster)
    await api.put(first.api, path("before"), timeout_policy("before"))
    await broken.process.stop()
    damage(broken)
    done = await raftmesh("cp", "run", "--config", str(broken.config_path))
    told = [line for line in done.err.splitlines() if "--recover-from-peers" in line]
    assert done.status == os.EX_CONFIG and len(told) == 1 and told[0].startswith("Error: "), done.err
    command = python("cp.cli", "cp", "run", "--config", str(broken.config_path), "--recover-from-peers")
    for attempt in range(2):  # the flag may stay: whole data is left alone
        again = Process(broken.name, command, broken.process.log_path)
        machines.replicas.append(Replica(broken.name, again, broken.api, broken.cp, broken.config_path))
        await again.start()
        await until("it is ready", lambda: api.ready(broken.api))
        await until("it is a follower again", lambda: role_is(first, broken.name, "follower"))
        kept = sorted(p.name for p in data_dir(broken).glob("set-aside-*"))
        assert kept == ["set-aside-1"], attempt
        await again.stop()
    await again.start()
    await until("it is ready", lambda: api.ready(broken.api))
    await second.process.kill()
    await until("it counts for the quorum", led(api, [first, machines.replicas[-1]]))
    assert await api.put(broken.api, path("after"), timeout_policy("after"))


async def test_a_backup_becomes_a_new_cluster(cluster: LocalMesh, api: Api, machines: Machines) -> None:
    await default_mesh(api, cluster)
    index = await api.put(cluster.replicas[0].api, path("kept"), timeout_policy("kept"))
    file = machines.directory("backups") / "mesh.backup"
    told = await succeed("backup", "-o", str(file), *at(cluster.replicas[1]))
    assert told.startswith("backup at index ") and file.stat().st_mode & 0o777 == 0o600
    assert int(told.split()[3].rstrip(":")) >= index
    for replica in cluster.replicas:
        await replica.process.kill()

    where = machines.directory("new-1")
    await succeed("cert", "ca", "--dir", str(where / "tls"))
    await succeed("cert", "node", "new-1", "--dir", str(where / "tls"))
    restore = ("restore", str(file), "--data-dir", str(where / "data"), "--node-id", "new-1")
    await succeed(*restore, "--tls-dir", str(where / "tls"))
    assert "not empty" in await fail(*restore, "--tls-dir", str(where / "tls"))
    (port,) = free_ports(1)
    raft = {"nodeId": "new-1", "dataDir": str(where / "data"), "tlsDir": str(where / "tls")}
    raft |= {"listen": f"{HOST}:{port}", "embedded": "never"}
    restored = machines.make("new-1", raft)
    await restored.process.start()
    await until("it is ready", lambda: api.ready(restored.api))
    await until("it leads itself", led(api, [restored]))
    assert (await api.get(restored.api, path("kept")))["name"] == "kept"
    assert set(await members(restored)) == {"new-1"}
    assert await api.put(restored.api, path("after"), timeout_policy("after")) > index

    token = (await succeed("cluster", "token", "--voter", *at(restored))).strip()
    await machines.join("new-2", token, restored)
    await until("it grows again", lambda: role_is(restored, "new-2", "follower"))


async def test_what_backup_and_restore_refuse(cluster: LocalMesh, api: Api, machines: Machines) -> None:
    await default_mesh(api, cluster)
    where = machines.directory("x")
    file = where / "mesh.backup"
    await succeed("backup", "-o", str(file), *at(cluster.replicas[0]))
    (closed,) = free_ports(1)
    for arguments, why in [
        (("backup", "-o", str(where), *at(cluster.replicas[0])), "is a directory"),
        (("backup", "-o", str(where / "no" / "where"), *at(cluster.replicas[0])), "No such file"),
        (("backup", "-o", str(file), "--cp-address", f"http://{HOST}:{closed}"), "no control plane could be"),
        (("restore", str(where / "none"), "--data-dir", str(where / "d")), "No such file"),
        (("restore", str(cluster.ca_path), "--data-dir", str(where / "d")), "this is no snapshot"),
        (("restore", str(file), "--data-dir", str(where / "d"), "--node-id", "a b"), "node id"),
        (
            ("restore", str(file), "--data-dir", str(where / "d"), "--voter", "cp-1", "--voter", "b"),
            "--tls-dir",
        ),
        (
            ("restore", str(file), "--data-dir", str(where / "d"), "--tls-dir", str(cluster.ca_path.parent)),
            "choose another cluster id",
        ),
    ]:
        assert why in await fail(*arguments)
    file.write_bytes(file.read_bytes()[:-10])
    assert "ends before its trailer" in await fail("restore", str(file), "--data-dir", str(where / "d"))
    assert [p.name for p in where.iterdir()] == ["mesh.backup"], "nothing half-done is left behind"


async def test_a_lost_quorum_goes_on_with_the_survivor(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, second, third = cluster.replicas
    await default_mesh(api, cluster)
    index = await api.put(first.api, path("kept"), timeout_policy("kept"))
    await api.get(first.api, f"{path('kept')}?index={index}")
    for replica in (second, third):
        await replica.process.kill()
    recover = ("cluster", "recover", "--data-dir", str(data_dir(first)))
    assert "in use by process" in await fail(*recover, "--unsafe-new-cluster")
    await first.process.stop()
    assert "say --unsafe-new-cluster" in await fail(*recover)
    done = await raftmesh(*recover, "--unsafe-new-cluster")
    assert done.status == 0 and "Warning: replica-1 has everything up to entry" in done.err
    assert "are lost" in done.err and "must never start again" in done.err
    assert (data_dir(first) / "set-aside-1" / "wal").is_dir()

    await first.process.start()
    await until("it leads alone", led(api, [first]))
    await until("it serves", lambda: api.ready(first.api))
    assert (await api.get(first.api, path("kept")))["name"] == "kept"
    assert await api.put(first.api, path("after"), timeout_policy("after")) > index
    assert set(await members(first)) == {"replica-1"}
    token = (await succeed("cluster", "token", "--voter", *at(first))).strip()
    joined = await machines.join("cp-4", token, first)
    await until("it grows again", lambda: role_is(first, "cp-4", "follower"))
    await until("the joiner serves", lambda: api.ready(joined.api))
    assert (await api.get(joined.api, path("after")))["name"] == "after"


async def test_three_replicas_start_from_one_backup(cluster: LocalMesh, api: Api, machines: Machines) -> None:
    await default_mesh(api, cluster)
    index = await api.put(cluster.replicas[0].api, path("kept"), timeout_policy("kept"))
    file = machines.directory("backups") / "mesh.backup"
    await succeed("backup", "-o", str(file), *at(cluster.replicas[2]))
    for replica in cluster.replicas:
        await replica.process.kill()
    tls = str(machines.directory("tls"))
    await succeed("cert", "ca", "--dir", tls)
    names = ["new-1", "new-2", "new-3"]
    addresses = dict(zip(names, (f"{HOST}:{port}" for port in free_ports(3)), strict=True))
    started = []
    for name in names:
        await succeed("cert", "node", name, "--dir", tls)
        data = str(machines.directory(name) / "data")
        voters = [flag for voter in names for flag in ("--voter", voter)]
        await succeed(
            *("restore", str(file), "--data-dir", data, "--node-id", name, "--tls-dir", tls, *voters)
        )
        peers = [f"{peer}={address}" for peer, address in addresses.items() if peer != name]
        raft = {"nodeId": name, "dataDir": data, "tlsDir": tls, "listen": addresses[name], "peers": peers}
        started.append(machines.make(name, raft))
    for replica in started:
        await replica.process.start()
    await ready(api, started)
    assert (await api.get(started[1].api, path("kept")))["name"] == "kept"
    after = await api.put(started[2].api, path("after"), timeout_policy("after"))
    assert after > index
    assert {m["role"] for m in (await members(started[0])).values()} <= {"leader", "follower"}


async def test_a_removed_replicas_name_may_be_used_again(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    first, second, third = cluster.replicas
    await default_mesh(api, cluster)
    leader = await leader_of(cluster, api)
    gone = next(replica for replica in (second, third) if replica is not leader)
    await gone.process.kill()
    await succeed("cluster", "remove", gone.name, *at(first))
    assert gone.name not in await members(first)
    token = (await succeed("cluster", "token", "--node-id", gone.name, "--voter", *at(first))).strip()
    assert "is for" in await fail(
        *("cluster", "join", "--token", token, *at(first), "--node-id", "cp-9"),
        *("--address", f"{HOST}:1", "--tls-dir", str(machines.directory("cp-9"))),
    )
    (port,) = free_ports(1)
    where = machines.directory("again")
    printed = await succeed(
        *("cluster", "join", "--token", token, *at(first), "--node-id", gone.name),
        *("--address", f"{HOST}:{port}", "--tls-dir", str(where / "tls"), "--data-dir", str(where / "data")),
    )
    again = machines.make("again", yaml.safe_load(printed)["raft"])
    await again.process.start()
    await until("it votes", lambda: role_is(leader, gone.name, "follower"))
    assert (await members(first))[gone.name]["address"] == f"{HOST}:{port}"
