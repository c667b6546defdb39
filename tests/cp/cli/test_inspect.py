"""What `raftmesh inspect` prints of the API's answers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cp.cli import build_parser
from cp.cli.inspect import _tags
from cp.cli.inspect_tables import TABLES
from tests.cp.cli.conftest import Cli
from tests.cp.cli.test_apply import WEB, timeout, write
from tests.cp.conftest import Api

NOW = datetime(2026, 1, 2, tzinfo=UTC)
YESTERDAY, EARLIER = "2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"
TOTAL = {"responsesSent": "20", "responsesRejected": "1"}
VERSION = {"kumaDp": {"version": "2.14.3"}, "envoy": {"version": "1.40.0"}, "dependencies": {"coredns": "1"}}
SUBSCRIPTIONS = [
    {"id": "1", "connectTime": EARLIER, "disconnectTime": EARLIER, "status": {"total": TOTAL}},
    {
        "id": "2",
        "connectTime": YESTERDAY,
        "status": {"lastUpdateTime": YESTERDAY, "total": TOTAL},
        "version": VERSION,
    },
]
INBOUND = {"port": 80, "tags": {"kuma.io/service": "web", "version": "1"}}


def row(table: str, document: dict[str, Any]) -> dict[str, str]:
    columns, cells = TABLES[table]
    return dict(zip(columns, cells(document, NOW), strict=True))


def test_a_dataplane_that_is_connected() -> None:
    mtls = {
        "certificateExpirationTime": "2026-01-03T04:05:06Z",
        "lastCertificateRegeneration": YESTERDAY,
        "certificateRegenerations": 3,
        "issuedBackend": "ca-1",
        "supportedBackends": ["ca-1", "ca-2"],
    }
    overview = {
        "mesh": "default",
        "name": "dp",
        "dataplane": {
            "networking": {"address": "10.0.0.1", "inbound": [INBOUND, INBOUND | {"state": "NotReady"}]}
        },
        "dataplaneInsight": {"subscriptions": SUBSCRIPTIONS, "mTLS": mtls},
    }
    assert row("dataplanes", overview) == {
        "MESH": "default",
        "NAME": "dp",
        "TAGS": "kuma.io/service=web version=1",
        "STATUS": "Partially degraded",
        "LAST CONNECTED AGO": "1d",
        "LAST UPDATED AGO": "1d",
        "TOTAL UPDATES": "40",
        "TOTAL ERRORS": "2",
        "CERT REGENERATED AGO": "1d",
        "CERT EXPIRATION": "2026-01-03 04:05:06",
        "CERT REGENERATIONS": "3",
        "CERT BACKEND": "ca-1",
        "SUPPORTED CERT BACKENDS": "ca-1,ca-2",
        "KUMA-DP VERSION": "2.14.3",
        "ENVOY VERSION": "1.40.0",
        "DEPENDENCIES VERSIONS": "coredns: 1",
        "NOTES": "inbound[port=80,svc=web] is not ready",
    }


def test_a_dataplane_that_never_was_connected() -> None:
    found = row(
        "dataplanes", {"mesh": "m", "name": "dp", "dataplane": {"networking": {"address": "10.0.0.1"}}}
    )
    assert found["STATUS"] == "Offline"
    assert found["LAST CONNECTED AGO"] == "never"
    assert (found["CERT EXPIRATION"], found["CERT BACKEND"], found["DEPENDENCIES VERSIONS"]) == (
        "-",
        "-",
        "-",
    )


@pytest.mark.parametrize(("enabled", "status"), [(None, "Online"), (True, "Online"), (False, "Offline")])
def test_a_zone_is_online_while_it_is_enabled(enabled: bool | None, status: str) -> None:
    subscription = SUBSCRIPTIONS[1] | {
        "version": {"kumaCp": {"version": "2.14.3"}},
        "config": '{"store": {"type": "raft"}}',
    }
    zone = {} if enabled is None else {"enabled": enabled}
    overview = {"name": "z", "zone": zone, "zoneInsight": {"subscriptions": [subscription]}}
    found = row("zones", overview)
    assert (found["STATUS"], found["ZONE-CP VERSION"], found["BACKEND"]) == (status, "2.14.3", "raft")


def test_a_zone_whose_settings_cannot_be_read() -> None:
    overview = {"name": "z", "zone": {}, "zoneInsight": {"subscriptions": [{"config": "no json"}]}}
    assert row("zones", overview)["BACKEND"] == ""


def test_zone_proxies_meshes_and_services() -> None:
    ingress = {"name": "i", "zoneIngressInsight": {"subscriptions": SUBSCRIPTIONS}}
    assert row("zoneingresses", ingress)["STATUS"] == "Online"
    assert row("zoneegresses", {"name": "e"})["STATUS"] == "Offline"
    mesh = {"name": "m", "dataplanes": {"online": 1, "total": 2}, "policies": {"RateLimit": {"total": 3}}}
    assert row("mesh-insights", mesh)["DATAPLANES"] == "1/2"
    assert row("mesh-insights", mesh)["RATE LIMITS"] == "3"
    service = {"name": "s", "status": "partially_degraded", "dataplanes": {"online": 1, "total": 2}}
    assert row("service-insights", service) == {
        "SERVICE": "s",
        "STATUS": "Partially degraded",
        "DATAPLANES": "1/2",
    }


def test_tags_filter_a_list() -> None:
    assert _tags([]) == ""
    assert _tags(["a=b", "c=d"]) == "?tag=a:b&tag=c:d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataplane"], "inspect dataplane needs a NAME"),
        (["dataplanes", "--tag", "nonsense"], "expected key=value"),
        (["mesh", "m"], "nothing is known of a Mesh"),
        (
            ["zoneingress", "i", "--type", "rules"],
            "--type=rules is of Dataplanes; a ZoneIngress has config-dump, stats, clusters, status",
        ),
        (["dataplane", "dp", "--shadow"], "'--shadow' can be used only when '--type=config'"),
        (
            ["dataplane", "dp", "--include-eds"],
            "'--include-eds' can be used only when '--type=config-dump'",
        ),
    ],
)
def test_what_cannot_be_inspected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed = build_parser("inspect").parse_args(["inspect", *arguments, "--no-config"])
    assert parsed.handler(parsed) == 1
    assert message in capsys.readouterr().err


async def test_a_list_is_whole_however_many_pages_it_has(api: Api, cli: Cli) -> None:
    """kumactl shows the first hundred and says nothing of the others."""
    await api.mesh()
    dataplane = {
        "type": "Dataplane",
        "mesh": "default",
        "networking": {"address": "10.0.0.1", "inbound": [INBOUND]},
    }
    operations = [{"op": "put", "resource": dataplane | {"name": f"dp-{n:03}"}} for n in range(120)]
    answer = await api.call("POST", "/transactions", {"operations": operations})
    assert answer.status == 200, answer.text
    ran = await cli("inspect", "dataplanes", api=api)
    assert len(ran.out.splitlines()) == 121, ran.err
    listed = yaml.safe_load((await cli("inspect", "dataplanes", "-o", "yaml", api=api)).out)
    assert (listed["total"], len(listed["items"]), listed["next"]) == (120, 120, None)


def test_a_certificate_of_an_unknown_authority() -> None:
    overview = {"mesh": "m", "name": "dp", "dataplane": {"networking": {"address": "10.0.0.1"}}}
    found = row("dataplanes", overview | {"dataplaneInsight": {"mTLS": {"certificateRegenerations": 1}}})
    assert (found["CERT BACKEND"], found["CERT REGENERATIONS"]) == ("unknown", "1")


async def test_inspecting_the_past(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    before = (await api.get("/meshes")).headers["X-Raftmesh-Index"]
    await cli("apply", "-f", write(tmp_path / "a.yaml", WEB, timeout("slow")), api=api)
    now = await cli("inspect", "dataplane", "web", api=api)
    assert "slow" in now.out, now.err
    then = await cli("inspect", "dataplanes", "--at", before, "-o", "yaml", api=api)
    assert yaml.safe_load(then.out)["items"] == []
    gone = await cli("inspect", "dataplane", "web", "--at", before, api=api)
    assert (gone.status, gone.err) == (1, "Error: Could not retrieve Dataplane (Not found)\n")
    envoy = await cli("inspect", "dataplane", "web", "--type", "stats", "--at", before, api=api)
    assert (envoy.status, "which knows no past" in envoy.err) == (1, True)


async def test_an_egress_is_asked_for_its_configuration(api: Api, cli: Cli) -> None:
    """It has no policies of its own, so that is what inspecting it means, as in kumactl."""
    for name in ("zoneegress", "zone-egress"):
        ran = await cli("inspect", name, "e", api=api)
        assert (ran.status, ran.err) == (1, "Error: Could not retrieve ZoneEgress (Not found)\n")
