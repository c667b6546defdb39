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
from cp.up.local import HOST, LocalMesh, Replica, free_ports
from cp.up.processes import Process, python
from cp.up.story import until
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


async def test_the_leader_is_removed_after_it_handed_over(
    cluster: LocalMesh, api: Api, machines: Machines
) -> None:
    await default_mesh(api, cluster)
    leader = await leader_of(cluster, api)
    others = [replica for replica in cluster.replicas if replica is not leader]
    told = await succeed("cluster", "remove", leader.name, *at(leader))
    assert told == f"{leader.name} is removed; its process can be stopped for good\n"
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
    assert await ready(api, cluster.replicas) is None
