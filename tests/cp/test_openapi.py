"""The description of the API covers every kind and refers to nothing that is not in it."""

from __future__ import annotations

import re

from mesh.registry import KINDS
from tests.cp.conftest import Api


async def test_every_kind_is_described(api: Api) -> None:
    answer = await api.get("/openapi.json")
    described = answer.json
    assert (answer.status, described["openapi"]) == (200, "3.1.0")
    for kind in KINDS.values():
        assert not kind.path or any(path.endswith(f"/{kind.path}/{{name}}") for path in described["paths"])
    references = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert references and references <= set(described["components"]["schemas"])
    for path, item in described["paths"].items():
        named = {each["name"] for each in item.get("parameters", [])}
        assert set(re.findall(r"{(\w+)}", path)) == named


async def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "openapi.json" in page.text and "http:" not in page.text and "https:" not in page.text
