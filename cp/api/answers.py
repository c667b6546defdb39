"""Answers of the API: JSON by orjson, small enough to be made in one piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`body` as JSON. Keys keep their order, which for resources is Kuma's."""
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/json", headers=headers or {}
    )


# Go's encoder writes these so that JSON can stand inside HTML.
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def error_answer(body: Any, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error's body, letter by letter as Kuma writes it: people read and scripts grep these."""
    text = json.dumps(body, indent=1, ensure_ascii=False).translate(_GO_ESCAPES) + "\n"
    return web.Response(
        status=status, body=text.encode(), content_type="application/json", headers=headers or {}
    )
