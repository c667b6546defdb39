"""apply as one transaction, history, diff, plan, rollback and the past, against a served API."""

from __future__ import annotations

from pathlib import Path

import orjson

from cp.cli.fielddiff import field_diff
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api

TIMEOUT = """type: MeshTimeout
mesh: default
name: {name}
spec:
  targetRef: {{kind: Mesh}}
  to:
  - targetRef: {{kind: Mesh}}
    default: {{connectionTimeout: {seconds}s}}
"""


def write(path: Path, **names: int) -> str:
    path.write_text("---\n".join(TIMEOUT.format(name=n, seconds=s) for n, s in names.items()))
    return str(path)


def test_fields_that_differ() -> None:
    before, after = {"a": [1, 2], "b": 1, "kri": "x"}, {"a": [1], "b": {"c": 2}, "d": None}
    assert field_diff(before, after) == ["- a[1]: 2", '~ b: 1 -> {"c":2}', "+ d: null"]
    assert field_diff(None, {"a": 1}) == ["+ a: 1"]
    assert field_diff({"a": 1, "creationTime": "x"}, {"a": 1}) == []


async def test_apply_is_all_or_nothing(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    before = api.worker.live.index
    ran = await cli("apply", "-f", write(tmp_path / "t.yaml", a=1, b=2), "--reason", "first", api=api)
    assert ran.out == (
        'resource type="MeshTimeout" mesh="default" name="a" Created\n'
        'resource type="MeshTimeout" mesh="default" name="b" Created\n'
    )
    assert api.worker.live.index == before + 1
    bad = TIMEOUT.format(name="c", seconds=1) + "---\n" + TIMEOUT.format(name="Bad_", seconds=1)
    (tmp_path / "bad.yaml").write_text(bad)
    ran = await cli("apply", "-f", str(tmp_path / "bad.yaml"), api=api)
    assert ran.status == 1 and '(Resource is not valid): resource[1], MeshTimeout "Bad_"\n* name: ' in ran.err
    assert api.worker.live.index == before + 1
    ran = await cli("apply", "-f", str(tmp_path / "t.yaml"), "--reason", "a\nb", api=api)
    assert "Error: --reason: must be one line" in ran.err


async def test_a_change_is_told_planned_and_undone(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    await cli("apply", "-f", write(tmp_path / "1.yaml", a=1), api=api)
    first = str(api.worker.live.index)
    second = write(tmp_path / "2.yaml", a=2, b=1)
    line = '~ spec.to[0].default.connectionTimeout: "1s" -> "2s"'
    ran = await cli("plan", "-f", second, api=api)
    where = 'in mesh "default"'
    expected = f'update MeshTimeout "a" {where}\n    {line}\ncreate MeshTimeout "b" {where}\n'
    assert ran.out == expected, ran.err
    await cli("apply", "-f", second, "--reason", "slow peers", api=api)
    ran = await cli("history", "meshtimeout", "a", api=api)
    assert ": slow peers\n" in ran.out and f"    {line}\n" in ran.out
    events = orjson.loads((await cli("history", "meshtimeout", "a", "-o", "json", api=api)).out)
    assert [event["reason"] for event in events] == ["slow peers", ""]
    assert (await cli("diff", "meshtimeout", "a", "--from", first, api=api)).out == line + "\n"
    assert "1s" in (await cli("get", "meshtimeout", "a", "--at", first, "-o", "yaml", api=api)).out
    rollback = ("rollback", "meshtimeouts", "--to", first)
    before = api.worker.live.index
    assert "repeat with --yes" in (await cli(*rollback, api=api)).out
    assert api.worker.live.index == before
    ran = await cli(*rollback, "--yes", api=api)
    assert ran.out.endswith("2 written back\n"), ran.err
    assert api.worker.live.index == before + 1
    assert "nothing to do" in (await cli(*rollback, api=api)).out


async def test_what_is_not_there(api: Api, cli: Cli) -> None:
    await api.mesh()
    for command in (["history", "meshtimeout", "x"], ["diff", "meshtimeout", "x", "--from", "1"]):
        ran = await cli(*command, api=api)
        assert (ran.status, ran.err.startswith("Error: ")) == (1, True)
    ran = await cli("rollback", "meshtimeout", "--to", "yesterday", api=api)
    assert "'yesterday' is neither a log index nor a time" in ran.err


async def test_watch_prints_what_happened_since(api: Api, cli: Cli) -> None:
    since = str(api.worker.live.index)
    await api.mesh()
    ran = await cli("watch", "--since", since, "--count", "1", api=api)
    assert orjson.loads(ran.out)["events"][0]["name"] == "default"
    ran = await cli("watch", "mesh", "default", "--count", "1", api=api)
    assert orjson.loads(ran.out)["items"][0]["type"] == "Mesh"
    ran = await cli("watch", "--since", "soon", api=api)
    assert (ran.status, "'soon' is neither a log index nor a time" in ran.err) == (1, True)


# --- the audit log ------------------------------------------------------------------------


async def test_the_audit_log_is_exported_and_followed(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    file = write(tmp_path / "t.yaml", a=1)
    await cli("apply", "-f", file, "--reason", "first", api=api)
    begin = str(api.worker.live.index)
    await cli("apply", "-f", write(tmp_path / "t.yaml", a=2), "--reason", "second", api=api)
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "aGlkZGVuCg=="}
    await api.put("/meshes/default/secrets/s", secret)
    exported = await cli("history", "--all", "-o", "jsonl", "--since", begin, api=api)
    events = [orjson.loads(line) for line in exported.out.splitlines()]
    policy = next(event for event in events if event["name"] == "a")
    assert (policy["reason"], policy["changes"][0]["after"]) == ("second", "2s")
    assert "aGlkZGVuCg" not in exported.out
    count = str(len(events))
    followed = await cli(
        "history", "--all", "-o", "jsonl", "--follow", "--since", begin, "--count", count, api=api
    )
    assert [orjson.loads(line) for line in followed.out.splitlines()] == events, followed.err
    one = await cli("history", "--all", "-o", "jsonl", "--since", begin, "--count", "1", api=api)
    assert len(one.out.splitlines()) == 1


async def test_the_history_of_a_moment_a_kind_a_mesh_and_a_user(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    await cli("apply", "-f", write(tmp_path / "t.yaml", a=1), api=api)
    then = str(api.worker.live.index)
    await cli("apply", "-f", write(tmp_path / "t.yaml", a=2, b=1), api=api)

    async def told(*flags: str) -> list[str]:
        ran = await cli("history", *flags, "-o", "json", api=api)
        assert ran.status == 0, ran.err
        return [event["name"] for event in orjson.loads(ran.out)]

    assert await told("meshtimeout", "a", "--at", then) == ["a"]
    assert await told("meshtimeouts") == ["b", "a", "a"]
    assert await told("--all", "--mesh", "default", "--actor", "mesh-system:admin") == [
        "b",
        "a",
        "a",
        "default",
    ]
    assert await told("--all", "--actor", "nobody") == []
    assert await told("meshtimeouts", "--count", "2") == ["b", "a"]
    ran = await cli("history", api=api)
    assert ran.err == "Error: name a KIND, or --all for the history of everything\n"
    ran = await cli("history", "--all", "--follow", "--at", "1", api=api)
    assert "--follow goes with neither --at nor -o json" in ran.err


async def test_differences_between_moments(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    indexes = []
    for seconds in (1, 2, 3):
        await cli("apply", "-f", write(tmp_path / "t.yaml", a=seconds), api=api)
        indexes.append(str(api.worker.live.index))
    line = '~ spec.to[0].default.connectionTimeout: "{}" -> "{}"\n'
    diff = ("diff", "meshtimeout", "a")
    ran = await cli(*diff, "--from", indexes[0], "--to", indexes[1], api=api)
    assert ran.out == line.format("1s", "2s")
    assert (await cli(*diff, "--at", indexes[1], api=api)).out == line.format("2s", "3s")
