"""Line charts as SVG, without a library: a few series over a logarithmic x axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 720, 400, 60
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a5a9e", "#8d6e15")
Points = Sequence[tuple[float, float]]


def chart(path: Path, title: str, x_name: str, y_name: str, series: Mapping[str, Points]) -> None:
    """Write a chart; y starts at 0, so that what does not grow looks flat. Needs at least one point."""
    points = [point for each in series.values() for point in each]
    low, high = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    top = max(y for _, y in points) * 1.1 or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / ((high - low) or 1.0)
        return MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    parts = [_text(WIDTH / 2, 24, title, "middle"), _text(WIDTH / 2, HEIGHT - 12, x_name, "middle")]
    parts.append(_text(8, 44, y_name))
    left, bottom = place(10**low, 0.0)
    right, _ = place(10**high, 0.0)
    parts.append(_line([(left, MARGIN), (left, bottom), (right, bottom)], "#444"))
    for x in sorted({x for x, _ in points}):
        parts.append(_text(place(x, 0.0)[0], bottom + 18, f"{x:g}", "middle"))
    for step in range(1, 5):
        y = top * step / 4
        parts.append(_text(left - 6, place(10**low, y)[1] + 4, f"{y:.3g}", "end"))
    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(_line([place(x, y) for x, y in sorted(each)], colour))
        parts += [_dot(*place(x, y), colour) for x, y in each]
        parts.append(_text(right - 180, MARGIN + 18 * number, name, colour=colour))
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    path.write_text("\n".join([head, *parts, "</svg>", ""]))


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _line(points: Points, colour: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
