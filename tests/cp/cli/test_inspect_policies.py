"""Policies by where they apply, as text."""

from __future__ import annotations

from cp.cli.inspect_policies import policies_text

INBOUND = {"port": 80, "tags": {"kuma.io/service": "web", "version": "1"}}


def test_policies_by_where_they_apply() -> None:
    meta = {"resourceMeta": {"type": "MeshTimeout", "name": "t"}}
    destination = {"type": "MeshService", "name": "web"}
    rules = [
        {"type": "MeshTrace", "proxyRule": {"conf": {}, "origin": [{"name": "trace"}]}},
        {
            "type": "MeshTimeout",
            "inboundRules": [{"inbound": INBOUND, "rules": [{"origin": [meta]}, {"origin": [meta]}]}],
            "toResourceRules": [
                {"resourceMeta": destination, "resourceSectionName": "http", "origin": [meta]}
            ],
            "toRules": [{"matchers": [{"key": "k", "not": True, "value": "v"}], "origin": [{"name": "old"}]}],
        },
    ]
    assert policies_text({"rules": rules}) == (
        "DATAPLANE:\n  MeshTrace\n    trace\n"
        "\nINBOUND 80(web):\n  MeshTimeout\n    t\n"
        "\nOUTBOUND MeshService web:http:\n  MeshTimeout\n    t\n"
        "\nOUTBOUND !k=v:\n  MeshTimeout\n    old\n"
    )
