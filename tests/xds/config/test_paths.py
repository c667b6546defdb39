"""Paths: their spellings, and finding the same place in another version of a document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.config.paths import ABSENT, PATH_CHARS_MAX, counterpart, normalised, parse, pointer, value_at

DOCUMENT = {"connectTimeout": "5s", "endpoints": [{"lbEndpoints": ["a", "b"]}], "a.b": {"x/y": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", DOCUMENT),
        ("/", DOCUMENT),
        ("/connectTimeout", "5s"),
        ("connect_timeout", "5s"),
        ("endpoints[0].lbEndpoints[1]", "b"),
        ("endpoints[0].lb_endpoints[1]", "b"),
        ("/endpoints/0/lbEndpoints/0", "a"),
        ('["a.b"]["x/y"]', 1),
        ("/a.b/x~1y", 1),
        ("endpoints[7]", ABSENT),
        ("connectTimeout.seconds", ABSENT),
    ],
)
def test_spellings(text: str, value: object) -> None:
    path = normalised(parse(text), DOCUMENT)
    assert value_at(DOCUMENT, path) == value
    assert value_at(DOCUMENT, parse(pointer(path))) == value


@pytest.mark.parametrize("text", ["a[b", "a[", ".a", "a..b", "x" * (PATH_CHARS_MAX + 1)])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|longer"):
        parse(text)


def test_an_element_keeps_its_identity_when_others_go() -> None:
    before = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert counterpart(before, before[1:], (1, "n")) == 2
    assert counterpart(before, before[1:], (0, "n")) is ABSENT
    assert counterpart(before, [{"n": 0}, *before], (3, "n")) == 4
    assert counterpart(before, [before[0], {"n": 9}, *before[2:]], (1, "n")) == 9
    assert counterpart(before, [before[1], before[3]], (3, "n")) == 4


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=12), st.data())
def test_what_is_still_there_is_found(items: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(items) - 1))
    kept = [item for item in items if item == items[index] or data.draw(st.booleans())]
    assert counterpart(items, kept, (index,)) == items[index]
    assert counterpart(items, [item for item in kept if item != items[index]], (index,)) is ABSENT
