"""Printing documents for people."""

from __future__ import annotations

import pytest
import yaml

from cp.cli.common import render


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", 'a: "1"\n'),
        ("true", 'a: "true"\n'),
        ("on", 'a: "on"\n'),
        ("y", 'a: "y"\n'),
        ("", 'a: ""\n'),
        ("*", "a: '*'\n"),
        ("x: y", "a: 'x: y'\n"),
        ("10s", "a: 10s\n"),
        ("2024-01-01T00:00:00Z", 'a: "2024-01-01T00:00:00Z"\n'),
        ("one\ntwo\n", "a: |\n  one\n  two\n"),
    ],
)
def test_texts_in_yaml_are_read_back_as_texts(value: str, text: str) -> None:
    assert render({"a": value}, "yaml") == text
    assert yaml.safe_load(text) == {"a": value}


def test_json_keeps_the_order_of_the_api() -> None:
    assert render({"b": 1, "a": 2}, "json") == '{\n  "b": 1,\n  "a": 2\n}\n'
