"""Settings of a replica: what cannot be is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftstore.settings import BadConfig, StoreConfig, parse_address

LEAST: dict[str, Any] = {"node_id": "n1", "data_dir": "/data"}
PEERS = {"n1": "h1:1", "n2": "h2:2", "n3": "[::1]:3"}


def test_it_comes_back_from_json() -> None:
    config = StoreConfig(
        **LEAST, peers=PEERS, tls_dir="/tls", election_timeout_min_s=0.16, election_timeout_max_s=0.32
    )
    assert StoreConfig.from_json(config.to_json()) == config
    assert config.raft().heartbeat_s * 3 <= 0.16


def test_peers_are_the_first_voters_and_may_leave_out_oneself() -> None:
    config = StoreConfig(**LEAST, peers=PEERS, tls_dir="/tls")
    assert config.others() == {"n2": ("h2", 2), "n3": ("::1", 3)}
    assert config.first_voters() == ["n1", "n2", "n3"]
    without = StoreConfig(**LEAST, peers={"n2": "h2:2"}, tls_dir="/tls")
    assert without.first_voters() == ["n1", "n2"]
    joining = StoreConfig(**LEAST, peers=PEERS, tls_dir="/tls", join=True)
    assert joining.first_voters() == ["n2", "n3"]
    assert StoreConfig(**LEAST).first_voters() == ["n1"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"node_id": "-"}, "node id '-'"),
        ({"peers": {"a/b": "h:1"}, "tls_dir": "x"}, "node id 'a/b'"),
        ({"peers": {"n2": "h"}, "tls_dir": "x"}, r"peers\[n2\]: 'h' is not HOST:PORT"),
        ({"peers": {"n2": "h:1"}}, "tls_dir"),
        ({"data_dir": ""}, "data_dir"),
        ({"listen": "h:70000"}, "listen"),
        ({"snapshot_entries": 0}, "snapshot_entries: 0 must be at least 1"),
        ({"election_timeout_min_s": 0.01}, "election_timeout_min_s = 0.01"),
        ({"election_timeout_max_s": 0.31}, "election_timeout_max_s = 0.31"),
    ],
)
def test_what_cannot_be_is_named(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        StoreConfig(**LEAST | changed)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "node_id: must be set"),
        (json.dumps(LEAST | {"size": 3}), "size: no such setting"),
        (json.dumps(LEAST | {"snapshot_entries": "3"}), "'3' is not of type int"),
        (json.dumps(LEAST | {"snapshot_entries": True}), "True is not of type int"),
        (json.dumps(LEAST | {"peers": {"n2": 1}}), "is not of type Mapping"),
        (json.dumps(LEAST | {"recover_from_peers": True}), "recover_from_peers: there are no peers"),
    ],
)
def test_json_that_cannot_be_is_named(text: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        StoreConfig.from_json(text)


def test_addresses() -> None:
    assert parse_address("x", "[::1]:80") == ("::1", 80)
    assert parse_address("x", "h:0") == ("h", 0)
    for text in ("h", "h:", ":x", "h:-1", "h:٣", "h:" + "9" * 5000, "h" * 300 + ":80"):
        with pytest.raises(BadConfig, match="x: "):
            parse_address("x", text)
