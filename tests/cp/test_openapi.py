"""The description of the API: every route is in it and nothing else, every kind, no broken reference."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from cp.api.app import create_app
from cp.api.openapi import ROUTES, description
from cp.api.operations import OPERATIONS
from mesh.registry import KINDS
from tests.cp.conftest import Api, ApiFactory

VERBS = ("get", "put", "post", "delete")


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (verb.upper(), path) for path, item in document["paths"].items() for verb in VERBS if verb in item
    }


async def test_what_is_described_is_served(api: Api) -> None:
    for method, path in operations((await api.get("/openapi.json")).json):
        answer = await api.call(method, re.sub(r"{\w+}", "x", path))
        unserved = answer.status in (404, 405) and answer.json["detail"].startswith(
            ("there is no such", method)
        )
        assert not unserved, f"{method} {path} is described and not served: {answer.text}"


async def test_what_is_served_is_described(api: Api) -> None:
    described = {
        (method, re.sub(r"{\w+}", "x", path))
        for method, path in operations((await api.get("/openapi.json")).json)
    }
    for route in create_app(api.worker.context).router.routes():
        assert route.resource is not None
        if route.resource.canonical != "/" and route.resource.canonical.endswith("/"):
            continue  # the same path once more
        info = route.resource.get_info()
        pattern = info.get("pattern") or re.compile(re.escape(info["path"]))
        paths = [path for method, path in described if method == route.method and pattern.fullmatch(path)]
        assert paths or route.method == "HEAD", f"{route.method} {route.resource.canonical} is not described"


async def test_each_kind_has_its_operations(api: Api) -> None:
    described = operations((await api.get("/openapi.json")).json)
    for kind in KINDS.values():
        if not kind.path:
            continue
        base = f"/meshes/{{mesh}}/{kind.path}" if kind.scope == "mesh" else f"/{kind.path}"
        name = "{service}" if kind.name == "ServiceInsight" else "{name}"
        wanted = {("GET", base), ("GET", f"{base}/{name}")}
        writes = set(product(("PUT", "DELETE"), [f"{base}/{{name}}"]))
        assert wanted <= described, kind.name
        assert (writes <= described) == (not kind.read_only), kind.name


async def test_every_other_route_is_told_in_words(api: Api) -> None:
    """A route that somebody adds has to be described, and a description goes when its route does."""
    document = description(create_app(api.worker.context)[ROUTES])
    kinds = {kind.name for kind in KINDS.values()}
    others = {
        f"{verb.upper()} {path}"
        for path, item in document["paths"].items()
        for verb in VERBS
        if verb in item and not kinds & set(item[verb].get("tags", ()))
    }
    assert others == set(OPERATIONS)


async def test_the_description_is_valid_openapi(api: Api) -> None:
    document = (await api.get("/openapi.json")).json
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    del document["info"]["title"]
    assert list(OpenAPIV31SpecValidator(document).iter_errors())


async def test_references_names_and_parameters(api: Api) -> None:
    answer = await api.get("/openapi.json")
    document = answer.json
    assert (answer.status, document["openapi"]) == (200, "3.1.0")
    for section, name in re.findall(r'"#/components/(\w+)/(\w+)"', answer.text):
        assert name in document["components"][section]
    ids = [item[verb]["operationId"] for item in document["paths"].values() for verb in VERBS if verb in item]
    assert len(ids) == len(set(ids))
    for path, item in document["paths"].items():
        named = [each["name"] for each in item["parameters"]]
        assert sorted(re.findall(r"{(\w+)}", path)) == sorted(named)
        for verb in set(VERBS) & set(item):
            names = [(each["in"], each["name"]) for each in item[verb].get("parameters", [])]
            assert len(names) == len(set(names)), f"{verb} {path}"


async def test_the_base_path_is_told_once(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_API_SERVER_BASE_PATH="/mesh-api/")
    document = (await api.get("/mesh-api/openapi.json")).json
    assert document["servers"] == [{"url": "/mesh-api"}]
    assert "/meshes" in document["paths"]


async def test_the_page_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "openapi.json" in page.text and "http:" not in page.text and "https:" not in page.text
