"""Bodies that are meant to be too much, and that long ones hold nobody up."""

from __future__ import annotations

import asyncio

import pytest

from cp.api.body import parse_yaml
from cp.limits import YAML_INLINE_BYTES_MAX, YAML_MERGES_MAX, YAML_NODES_MAX
from cp.problems import Problem


async def test_a_long_text_is_parsed_beside_the_loop() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    documents = await parse_yaml(b"- {a: 1}\n" * YAML_INLINE_BYTES_MAX)
    other.cancel()
    assert documents == [[{"a": 1}] * YAML_INLINE_BYTES_MAX]
    assert turns > 0


async def test_too_many_values_are_refused_before_they_are_built() -> None:
    with pytest.raises(Problem, match=f"more than {YAML_NODES_MAX} values"):
        await parse_yaml(b"[" + b"1," * YAML_NODES_MAX + b"1]")


async def test_merge_keys() -> None:
    text = b"a: &a {x: 1, y: 2}\nb: &b {<<: *a, y: 3}\nc: {<<: [*a, *b], z: 4}\n"
    (document,) = await parse_yaml(text)
    assert document["b"] == {"x": 1, "y": 3}
    assert document["c"] == {"x": 1, "y": 2, "z": 4}


async def test_merge_keys_that_multiply_are_refused() -> None:
    """Sixteen to the power of the number of lines."""
    lines = ["l0: &l0 {a: 1, b: 2}"]
    lines += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * YAML_MERGES_MAX)}]}}" for n in range(1, 9)]
    with pytest.raises(Problem, match="merge keys make more than"):
        await parse_yaml("\n".join(lines).encode())
    wide = ", ".join(["*l0"] * (YAML_MERGES_MAX + 1))
    for text in (f"{lines[0]}\nx: {{<<: [{wide}]}}", f"{lines[0]}\nx: {{{'<<: *l0, ' * 17}z: 1}}"):
        with pytest.raises(Problem, match="more than 16 maps are merged"):
            await parse_yaml(text.encode())
