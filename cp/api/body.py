"""From the bytes of a request to one document: limits first, then syntax with its position.

JSON is the language of the API, YAML is taken as well, since every example is written in
it. What cannot travel further is refused here with its reason: nesting without end, YAML
aliases that expand without end, numbers and texts that JSON cannot carry.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import yaml
from aiohttp import web

from cp.limits import (
    BODY_BYTES_MAX,
    BODY_TIMEOUT_S,
    DOCUMENT_DEPTH_MAX,
    DOCUMENT_NODES_MAX,
    YAML_INLINE_BYTES_MAX,
    YAML_MERGES_MAX,
    YAML_NODES_MAX,
)
from cp.problems import Problem, bad_request

TITLE = "Could not process a resource"
_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")
# curl says x-www-form-urlencoded unless told otherwise; the body decides, not the guess of a client.
_JSON_TYPES = (
    "application/json",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "text/plain",
)
# One text at a time: several would only take the processor from the loop, and from each other.
_YAML_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="yaml")


class _Loader(yaml.CSafeLoader):
    """YAML that stays within JSON's types: a time stamp remains the text it was written as."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys (`<<: *a`). Merging what was merged multiplies, so a few lines could fill the memory."""
        merges = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        wide = sum(len(each.value) if isinstance(each, yaml.SequenceNode) else 1 for each in merges)
        if wide > YAML_MERGES_MAX:
            raise ValueError(f"more than {YAML_MERGES_MAX} maps are merged into one")
        super().flatten_mapping(node)
        self._merged += len(node.value) if merges else 0
        if self._merged > YAML_NODES_MAX:
            raise ValueError(f"merge keys make more than {YAML_NODES_MAX} values")


async def read_object(request: web.Request, title: str = TITLE) -> dict[str, Any]:
    """The request's body as one JSON object. Raises Problem (400 with that title, 413, 415)."""
    try:
        documents = await read_documents(request, limit=BODY_BYTES_MAX)
    except Problem as problem:
        raise bad_request(problem.detail, title) if problem.title == TITLE else problem from None
    if len(documents) != 1:
        raise bad_request(f"expected one document, found {len(documents)}", title)
    document = documents[0]
    if not isinstance(document, dict):
        raise bad_request(f"expected an object, found {_kind(document)}", title)
    return document


async def read_documents(request: web.Request, limit: int) -> list[Any]:
    """The documents of the body: one of JSON, any number of YAML. Raises Problem."""
    is_yaml = _is_yaml(request)
    async with asyncio.timeout(BODY_TIMEOUT_S):
        raw = await _read(request, limit)
    documents = await parse_yaml(raw) if is_yaml else [_parse_json(raw)]
    for document in documents:
        check_document(document)
    return documents


async def parse_yaml(raw: bytes) -> list[Any]:
    """The documents of a YAML text, parsed beside the loop if that would hold it up. Raises Problem."""
    if len(raw) <= YAML_INLINE_BYTES_MAX:
        return _parse_yaml(raw)
    return await asyncio.get_running_loop().run_in_executor(_YAML_THREAD, _parse_yaml, raw)


def _is_yaml(request: web.Request) -> bool:
    if "Content-Type" not in request.headers:
        return False
    kind = request.content_type.lower()
    if kind in _YAML_TYPES:
        return True
    if kind in _JSON_TYPES or kind.endswith("+json"):
        return False
    raise Problem(
        415,
        "Unsupported Media Type",
        f"{kind!r} is not understood; send application/json or application/yaml",
    )


async def _read(request: web.Request, limit: int) -> bytes:
    too_large = Problem(413, "Request Entity Too Large", f"the body is larger than {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    if request.headers.get("Content-Encoding", "identity") not in ("identity", ""):
        raise Problem(415, "Unsupported Media Type", "compressed bodies are not understood")
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > limit:
            raise too_large
    if not raw.strip():
        raise bad_request("the body is empty", TITLE)
    return bytes(raw)


def _parse_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}", TITLE
        ) from error


def _parse_yaml(raw: bytes) -> list[Any]:
    try:
        text = raw.decode()
        _check_yaml_size(text)
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except UnicodeDecodeError as error:
        raise bad_request(f"the body is not UTF-8 text: byte {error.start}", TITLE) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise bad_request(f"the body is not YAML: {error.problem or error.context}{where}", TITLE) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise bad_request(f"the body is not YAML: {' '.join(str(error).split())[:200]}", TITLE) from error


def _check_yaml_size(text: str) -> None:
    """Before anything is built: the C composer recurses, and overflows its stack on `[[[[…`; and what is too
    much should be known before all of it was read."""
    depth = nodes = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > YAML_NODES_MAX:
                raise bad_request(f"the documents have more than {YAML_NODES_MAX} values together", TITLE)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DOCUMENT_DEPTH_MAX:
                    raise bad_request(f"the document nests deeper than {DOCUMENT_DEPTH_MAX} levels", TITLE)


def check_document(document: Any) -> None:
    """Refuse what is no JSON value or has no end. Raises Problem."""
    nodes = 0
    pending = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        nodes += 1
        if depth > DOCUMENT_DEPTH_MAX:
            raise bad_request(f"the document nests deeper than {DOCUMENT_DEPTH_MAX} levels", TITLE)
        if nodes > DOCUMENT_NODES_MAX:
            raise bad_request(f"the document has more than {DOCUMENT_NODES_MAX} values", TITLE)
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise bad_request(f"the key {str(key)[:80]!r} is not a text; put it in quotes", TITLE)
                _check_text(key)
            pending += [(child, depth + 1) for child in value.values()]
        elif isinstance(value, list):
            pending += [(child, depth + 1) for child in value]
        else:
            _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise bad_request(f"the number {value} cannot be represented in JSON", TITLE)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise bad_request("a whole number is larger than 64 bits", TITLE)
    elif value is not None:
        raise bad_request(f"a value of type {type(value).__name__} cannot be represented in JSON", TITLE)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise bad_request(f"a text holds half a character (at {error.start})", TITLE) from error


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
