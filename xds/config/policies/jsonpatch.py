"""RFC 6902 (without `test`) on JSON values, and RFC 7396's cousin for messages: merging one into another."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any


class PatchError(ValueError):
    """An operation that does not fit the document. The text names the operation and the path."""


def apply(document: Any, operations: Iterable[Mapping[str, Any]]) -> Any:
    """The document after the operations; the argument is left as it is. Raises PatchError."""
    result = copy.deepcopy(document)
    for operation in operations:
        try:
            result = _apply(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            place = f"{operation.get('op')} {operation.get('path')}"
            raise PatchError(f"{place}: {type(error).__name__}: {error}") from None
    return result


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    path = _parts(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, path, copy.deepcopy(operation.get("value")))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _set(document, path, copy.deepcopy(operation.get("value")))
        case "move":
            source = _parts(operation["from"])
            value = _get(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _parts(operation["from"]))))
        case other:
            raise ValueError(f"unknown operation {other!r}")


def _parts(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer: it has to begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    """Values are put into objects, and between the elements of lists. Missing objects are made."""
    if not path:
        return value
    parent = document
    for part in path[:-1]:
        if isinstance(parent, list):
            parent = parent[int(part)]
        else:
            parent = parent.setdefault(part, {})
    last = path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == "-" else int(last)
        if index > len(parent):
            raise IndexError(f"index {index} of a list of {len(parent)}")
        parent.insert(index, value)
    else:
        parent[last] = value
    return document


def _set(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise ValueError("the whole document cannot be removed")
    parent = _get(document, path[:-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
    return document


def merged(target: Any, patch: Any) -> Any:
    """A message with another of its type merged in, as protobuf merges: lists are joined, values win."""
    if isinstance(target, dict) and isinstance(patch, dict):
        result = dict(target)
        for key, value in patch.items():
            result[key] = merged(result[key], value) if key in result else value
        return result
    if isinstance(target, list) and isinstance(patch, list):
        return target + patch
    return patch
