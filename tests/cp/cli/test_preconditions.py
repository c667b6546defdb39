"""ETags on the command line: what was read is written only while it is still so."""

from __future__ import annotations

from pathlib import Path

import pytest

from cp.cli.errors import CommandError
from cp.cli.preconditions import version_of
from tests.cp.cli.conftest import Cli
from tests.cp.cli.test_apply import timeout, write
from tests.cp.conftest import Api

NAMED = ("meshtimeout", "slow")


async def version(cli: Cli, api: Api) -> str:
    ran = await cli("get", *NAMED, "-o", "etag", api=api)
    assert ran.out.strip().isdecimal(), ran.err
    return ran.out.strip()


async def test_two_who_read_the_same_cannot_both_write(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    await cli("apply", "-f", write(tmp_path / "a.yaml", timeout("slow", 1)), api=api)
    read = await version(cli, api)
    first = write(tmp_path / "first.yaml", timeout("slow", 2))
    second = write(tmp_path / "second.yaml", timeout("slow", 3))
    assert (await cli("apply", "-f", first, "--if-match", read, api=api)).status == 0
    now = await version(cli, api)
    late = await cli("apply", "-f", second, "--if-match", read, api=api)
    assert (late.status, late.err) == (
        1,
        f"Error: Precondition Failed (MeshTimeout default/slow is at version {now})\n",
    )
    gone = await cli("delete", *NAMED, "--if-match", read, api=api)
    assert (gone.status, f"at version {now}" in gone.err) == (1, True)
    assert await version(cli, api) == now
    assert (await cli("delete", *NAMED, "--if-match", f'"{now}"', api=api)).status == 0


async def test_what_exists_is_not_created_again(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    command = ("apply", "-f", write(tmp_path / "a.yaml", timeout("slow")), "--if-none-match", "*")
    assert (await cli(*command, api=api)).out.endswith("Created\n")
    assert (await cli(*command, api=api)).err.startswith("Error: Precondition Failed")


async def test_what_is_known_is_not_sent_again(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    await cli("apply", "-f", write(tmp_path / "a.yaml", timeout("slow")), api=api)
    now = await version(cli, api)
    same = await cli("get", *NAMED, "--if-none-match", now, api=api)
    assert (same.status, same.out) == (0, "")
    assert same.err == f"MeshTimeout 'slow' is still at version {now}\n"
    other = await cli("get", *NAMED, "--if-none-match", str(int(now) - 1), "-o", "yaml", api=api)
    assert "name: slow" in other.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("apply", "-f", "{two}", "--if-match", "3"), "go with one document; here are 2"),
        (("apply", "-f", "{one}", "--if-match", "3", "--if-none-match", "*"), "exclude each other"),
        (("apply", "-f", "{one}", "--if-match", "new"), "--if-match 'new': must be a version such as 42"),
        (("get", "meshtimeouts", "-o", "etag"), "give its NAME"),
    ],
)
async def test_conditions_that_make_no_sense(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    one = write(tmp_path / "one.yaml", timeout("a"))
    two = write(tmp_path / "two.yaml", timeout("a"), timeout("b"))
    ran = await cli(
        *(each.format(one=one, two=two) for each in arguments), "--cp-address", "http://127.0.0.1:1"
    )
    assert (ran.status, said in ran.err) == (1, True), ran.err


def test_a_version_may_be_pasted_from_a_header() -> None:
    assert (version_of("42", "x"), version_of('"42"', "x"), version_of('W/"42"', "x")) == (42, 42, 42)
    for wrong in ("0", "-1", "", '"', "4 2"):
        with pytest.raises(CommandError):
            version_of(wrong, "--if-match")
