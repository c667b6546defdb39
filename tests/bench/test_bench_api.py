"""The API benchmark asks both servers for the same, and hears its watchers out."""

from __future__ import annotations

import json

import pytest

from bench.bench_api import FLOOR, GET, TIMEOUTS, fan_out, put_timeout, servers, set_floor
from bench.harness import Report
from bench.http import Connection, message


async def test_the_floor_answers_what_the_api_answers(capsys: pytest.CaptureFixture[str]) -> None:
    async with servers(20) as (api, bare):
        body = await set_floor(api, bare, GET)
        assert json.loads(body)["name"] == "dp-00007"
        floor = await Connection.open(bare)
        assert (await floor.ask(message("GET", "/echo"))).body == body
        floor.close()
        writer = await Connection.open(api)
        assert (await writer.ask(put_timeout(3))).status == 201
        assert (await writer.ask(put_timeout(3))).status == 200
        assert json.loads((await writer.ask(message("GET", f"{TIMEOUTS}/t3"))).body)["name"] == "t3"
        writer.close()
        report = Report("x")
        await fan_out(report, api, bare, 3, 2)
    assert [figure.unit for figure in report.figures] == ["ms", "1/s"]
    assert all(figure.of == FLOOR and figure.value > 0 for figure in report.figures)
    assert "watch, 3 watchers" in capsys.readouterr().out
