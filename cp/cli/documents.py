"""Reading what a person wants to apply: files, directories, standard input; many documents each."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cp.cli.errors import CommandError

FILE_BYTES_MAX = 64 << 20
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


def read(sources: Sequence[str], variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """All documents of all sources, in order. CommandError names the source and the document."""
    documents: list[dict[str, Any]] = []
    for source in sources:
        for name, text in _texts(source):
            documents += _parse(name, _render(text, variables))
    if not documents:
        raise CommandError("no resource(s) passed to apply")
    return documents


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "standard input", _limited(sys.stdin.buffer.read(FILE_BYTES_MAX + 1), "standard input")
        return
    path = Path(source)
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    for file in files:
        try:
            with open(file, "rb") as opened:
                yield str(file), _limited(opened.read(FILE_BYTES_MAX + 1), str(file))
        except OSError as error:
            raise CommandError(f"error while reading {file}: {error.strerror}") from None


def _limited(content: bytes, name: str) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise CommandError(f"{name}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{name}: not UTF-8 text (byte {error.start})") from None


def _render(text: str, variables: Mapping[str, str]) -> str:
    """Mustache variables; one that was not given becomes empty, as in kumactl."""
    return _VARIABLE.sub(lambda match: variables.get(match.group(1), ""), text) if variables else text


def _parse(name: str, text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        for document in yaml.load_all(text, Loader=_Loader):
            if document is None:
                continue
            if not isinstance(document, dict):
                raise CommandError(f"{name}: resource[{len(found)}]: failed to parse resource: not a mapping")
            found.append(document)
    except yaml.YAMLError as error:
        raise CommandError(f"{name}: resource[{len(found)}]: failed to parse resource: {error}") from None
    return found


class _Loader(yaml.SafeLoader):
    """YAML's plain types without its dates: a time stays the text that was written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
