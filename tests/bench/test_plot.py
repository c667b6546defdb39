"""Charts are well-formed, and what does not grow is drawn flat."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bench.plot import chart


def heights(path: Path) -> list[set[str]]:
    """The y coordinates of each series; the axes come first."""
    return [
        set(re.findall(r",([\d.]+)", line)) for line in re.findall(r'points="([^"]*)"', path.read_text())[1:]
    ]


def test_a_flat_series_is_flat_and_a_growing_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    flat, grows = [(100.0, 5.0), (1000.0, 5.0)], [(100.0, 5.0), (1000.0, 50.0)]
    chart(path, "a < b", "proxies", "", {"flat": flat, "grows": grows})
    ElementTree.fromstring(path.read_text())
    assert [len(each) for each in heights(path)] == [1, 2]


def test_one_point_is_a_chart_too(tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    chart(path, "one", "proxies", "", {"all": [(100.0, 0.0)]})
    assert path.read_text().count("<circle") == 1
