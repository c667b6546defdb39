"""Policies by where they attach, in kumactl's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cp.cli.inspect_attachments import affected_text, attached_text
from tests.cp.cli.conftest import Cli
from tests.cp.cli.test_apply import WEB, timeout, write
from tests.cp.conftest import Api


def attachment(kind: str, name: str = "", service: str = "") -> dict[str, Any]:
    return {"type": kind, "name": name, "service": service}


INBOUND = attachment("inbound", "10.0.0.1:80:8080", "web")
OUTBOUND = attachment("outbound", "127.0.0.1:10001", "db")


def test_a_sidecar_is_told_with_each_place() -> None:
    page = {
        "items": [
            {
                "dataplane": {"name": "web-1"},
                "attachments": [INBOUND, OUTBOUND, attachment("service", "db", "db")],
            },
            {"dataplane": {"name": "web-2"}, "attachments": [attachment("dataplane")]},
            {"dataplane": {"name": "web-3"}, "attachments": [INBOUND, attachment("dataplane")]},
        ]
    }
    assert affected_text(page) == (
        "Affected data plane proxies:\n\n"
        "  web-1:\n    inbound 10.0.0.1:80:8080(web)\n    outbound 127.0.0.1:10001(db)\n    service db\n\n"
        "  web-2\n\n"
        "  web-3:\n    inbound 10.0.0.1:80:8080(web)\n    dataplane\n\n"
    )


def test_a_gateway_is_told_by_listener_host_and_route() -> None:
    route = {"route": "r", "destinations": [{"kuma.io/service": "web"}, {"kuma.io/service": "db"}]}
    listener = {"port": 80, "protocol": "HTTP", "hosts": [{"hostName": "*.example", "routes": [route]}]}
    item = {"dataplane": {"name": "edge-1"}, "gateway": {"name": "edge"}, "listeners": [listener]}
    assert affected_text({"items": [item]}) == (
        "Affected data plane proxies:\n\n"
        "  edge:\n    listener (HTTP:80):\n      *.example:\n        r:\n"
        "          service web\n          service db\n\n"
    )
    assert affected_text({"items": [item | {"listeners": []}]}).endswith("  edge\n\n")


def test_the_policies_of_a_proxy_are_a_block_for_each_attachment() -> None:
    named = [{"name": "a"}, {"name": "b"}]
    document = {
        "items": [
            attachment("dataplane") | {"matchedPolicies": {"MeshTrace": named}},
            INBOUND | {"matchedPolicies": {"MeshTimeout": named[:1], "MeshRateLimit": named[1:]}},
            attachment("service", "db", "db") | {"matchedPolicies": {"MeshRetry": named[:1]}},
        ]
    }
    assert attached_text(document) == (
        "DATAPLANE:\n  MeshTrace\n    a\n    b\n"
        "\nINBOUND 10.0.0.1:80:8080(web):\n  MeshTimeout\n    a\n  MeshRateLimit\n    b\n"
        "\nSERVICE db:\n  MeshRetry\n    a\n"
    )


async def test_who_is_affected_by_a_policy(api: Api, cli: Cli, tmp_path: Path) -> None:
    await api.mesh()
    applied = await cli("apply", "-f", write(tmp_path / "a.yaml", WEB, timeout("slow")), api=api)
    assert applied.status == 0, applied.err
    ran = await cli("inspect", "meshtimeout", "slow", api=api)
    assert ran.out == "Affected data plane proxies:\n\n  web\n\n", ran.err
    named = await cli("inspect", "meshtimeout", "slow", "--new-api", api=api)
    assert named.out == "Affected data plane proxies:\n\n  web\n"
