"""Drafts: dicts become messages, whatever is nested in them."""

from __future__ import annotations

import pytest

from xds import proto
from xds.config.draft import Fields, copied, duration, duration_ns, message, named, socket_address, stat_name

CLUSTER = "envoy.config.cluster.v3.Cluster"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def test_any_and_struct_at_any_depth() -> None:
    draft = {
        "name": "c",
        "metadata": {"filter_metadata": {"a": Fields({"b": ["c", {"d": 1}]})}},
        "transport_socket": named("s", ROUTER, {"suppress_envoy_headers": True}),
    }
    found = proto.to_json(message(CLUSTER, draft))
    assert found["metadata"]["filterMetadata"]["a"] == {"b": ["c", {"d": 1.0}]}
    assert found["transportSocket"]["typedConfig"]["suppressEnvoyHeaders"] is True


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        message(CLUSTER, {"nonsense": 1})


def test_a_copy_can_be_edited() -> None:
    draft = {"f": [named("s", ROUTER, {"x": [1]})]}
    twin = copied(draft)
    twin["f"][0]["typed_config"]["x"].append(2)
    assert draft["f"][0]["typed_config"]["x"] == [1]  # type: ignore[index]
    assert twin["f"][0]["typed_config"].name == ROUTER


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h", (3600, 0)), ("250ms", (0, 250_000_000)), ("-1.5s", (-1, -500_000_000)), ("0", (0, 0))],
)
def test_durations_are_exact(text: str, expected: tuple[int, int]) -> None:
    found = duration(text)
    assert (found["seconds"], found["nanos"]) == expected


def test_durations_of_one_nanosecond() -> None:
    assert duration_ns(1) == {"seconds": 0, "nanos": 1}


def test_addresses() -> None:
    assert socket_address("10.0.0.1", 80) == {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
    assert socket_address("unix:///run/x.sock", 0) == {"pipe": {"path": "/run/x.sock"}}


def test_names_in_statistics() -> None:
    assert stat_name("inbound:10.0.0.1:80") == "inbound_10_0_0_1_80"
    assert stat_name("a-b_c") == "a-b_c"
