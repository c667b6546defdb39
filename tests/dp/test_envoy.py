"""Envoy's command line, and its life with the real binary."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from dp.admin import Admin, AdminAddress, admin_address
from dp.envoy import Envoy, command_line, envoy_version, find_envoy
from dp.errors import BadInput, EnvoyFailed
from dp.options import Options
from dp.runner import supervise, write_bootstrap

OPTIONS = Options(cp_addresses=("https://a:1",), name="n", mesh="m", concurrency=1, envoy_log_level="off")


def bootstrap(directory: Path) -> bytes:
    admin = {"address": {"pipe": {"path": str(directory / "admin.sock")}}}
    return yaml.safe_dump({"node": {"id": "m.n", "cluster": "c"}, "admin": admin}).encode()


def test_the_command_line_has_what_was_asked_for() -> None:
    command = command_line("/envoy", Path("/b.yaml"), OPTIONS)
    assert command[:3] == ["/envoy", "--config-path", "/b.yaml"]
    assert command[-2:] == ["--concurrency", "1"]
    assert "--disable-hot-restart" in command


def test_the_bundled_envoy_is_found_and_tells_its_version() -> None:
    assert envoy_version(find_envoy("")).startswith("1.40.")


def test_a_binary_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match="/nowhere/envoy"):
        find_envoy("/nowhere/envoy")


def test_a_binary_that_is_not_envoy_is_refused() -> None:
    with pytest.raises(EnvoyFailed, match="/bin/true"):
        envoy_version("/bin/true")


def test_the_admin_address_is_read_from_the_bootstrap() -> None:
    assert admin_address(b"admin: {address: {pipe: {path: /a.sock}}}") == AdminAddress(path="/a.sock")
    tcp = b"admin: {address: {socketAddress: {address: 127.0.0.1, portValue: 9901}}}"
    assert admin_address(tcp) == AdminAddress(host="127.0.0.1", port=9901)
    with pytest.raises(EnvoyFailed, match="no admin address"):
        admin_address(b"node: {}")


def test_the_bootstrap_is_private(tmp_path: Path) -> None:
    path = write_bootstrap(tmp_path / "work", b"token")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.envoy
async def test_an_envoy_starts_serves_and_drains(tmp_path: Path) -> None:
    config = write_bootstrap(tmp_path, bootstrap(tmp_path))
    admin = Admin(admin_address(bootstrap(tmp_path)))
    stopping: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    command = command_line(find_envoy(""), config, OPTIONS)
    running = asyncio.create_task(supervise(command, admin, 5.0, stopping))
    async with asyncio.timeout(60):
        while not await admin.is_live():
            await asyncio.sleep(0)
        stopping.set_result(True)
        await running
    assert not await admin.is_live()


@pytest.mark.envoy
async def test_an_envoy_that_was_killed_is_started_again(tmp_path: Path) -> None:
    config = write_bootstrap(tmp_path, bootstrap(tmp_path))
    admin = Admin(admin_address(bootstrap(tmp_path)))
    stopping: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        supervise(command_line(find_envoy(""), config, OPTIONS), admin, 1.0, stopping)
    )
    async with asyncio.timeout(60):
        while not await admin.is_live():
            await asyncio.sleep(0)
        await admin.request("POST", "/quitquitquit")
        while await admin.is_live():
            await asyncio.sleep(0)
        while not await admin.is_live():
            await asyncio.sleep(0)
        stopping.set_result(True)
        await running


@pytest.mark.envoy
async def test_an_envoy_that_cannot_live_is_given_up(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("static_resources: {clusters: [{name: 1, type: NO_SUCH_TYPE}]}")
    stopping: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    admin = Admin(AdminAddress(path=str(tmp_path / "none.sock")))
    async with asyncio.timeout(60):
        with pytest.raises(EnvoyFailed, match="keeps dying"):
            await supervise(command_line(find_envoy(""), config, OPTIONS), admin, 1.0, stopping)


async def test_a_missing_binary_is_an_error_with_its_reason() -> None:
    with pytest.raises(EnvoyFailed, match="No such file"):
        await Envoy.start(["/nowhere/envoy"])
