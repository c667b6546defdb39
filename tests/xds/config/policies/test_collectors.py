"""Collectors: addresses in all their spellings, and values for OpenTelemetry."""

from __future__ import annotations

from typing import Any

import pytest

from xds.config.policies.collectors import Collector, any_value, http_collector, otel_collector


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("otel:4317", Collector("otel", 4317)),
        ("otel", Collector("otel", 4317)),
        ("http://otel:4318/v1/traces", Collector("otel", 4318, "/v1/traces")),
        ("[2001:db8::1]:99", Collector("2001:db8::1", 99)),
        ("otlp+http://otel:4318/base", Collector("otel", 4318, "/base", True)),
    ],
)
def test_otel(endpoint: str, expected: Collector) -> None:
    assert otel_collector(endpoint) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://z/api?x=1", Collector("z", 80, "/api?x=1")),
        ("https://z", Collector("z", 443)),
        ("tcp://z", Collector("z", 7)),
    ],
)
def test_http(url: str, expected: Collector) -> None:
    assert http_collector(url, 7) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", {"string_value": "A"}),
        (True, {"bool_value": True}),
        (7, {"int_value": 7}),
        (1.5, {"double_value": 1.5}),
        (["a"], {"array_value": {"values": [{"string_value": "A"}]}}),
        ({"k": "a"}, {"kvlist_value": {"values": [{"key": "k", "value": {"string_value": "A"}}]}}),
        ({"stringValue": "a"}, {"string_value": "A"}),
        (
            {"arrayValue": {"values": [{"stringValue": "a"}]}},
            {"array_value": {"values": [{"string_value": "A"}]}},
        ),
        (None, {}),
        ({"intValue": "7"}, {"int_value": 7}),
        ({"boolValue": True}, {"bool_value": True}),
        ({"doubleValue": 0.5}, {"double_value": 0.5}),
    ],
)
def test_any_value(value: Any, expected: Any) -> None:
    assert any_value(value, str.upper) == expected
