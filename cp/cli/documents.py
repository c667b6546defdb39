"""Reading what a person wants to apply: files, directories, URLs, standard input; many documents each."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cp.cli.errors import CommandError
from cp.limits import DOCUMENT_DEPTH_MAX
from mesh.codec import decode
from mesh.errors import BadRequest, Invalid
from mesh.resource import Resource

FILE_BYTES_MAX = 64 << 20
URL_TIMEOUT_S = 10.0  # kumactl's
# A comma separates two variables only where another name and "=" follow: values may hold commas.
_PAIRS = re.compile(r",(?=[A-Za-z_][\w.-]*=)")
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


class Unreadable(CommandError):
    """A source cannot be had: whether its documents are right is not known."""


def add_document_flags(parser: argparse.ArgumentParser) -> None:
    """-f and -v, for every command that reads documents."""
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE|DIR|URL|-",
        help="what to read; repeat for more (default: standard input)",
    )
    parser.add_argument(
        "-v", "--var", action="append", default=[], metavar="NAME=VALUE", help="for {{ NAME }} in it"
    )


def resources_of(args: argparse.Namespace) -> list[Resource]:
    """The resources that the flags name. Raises CommandError."""
    documents = read(args.file or ["-"], variables(args.var))
    return [decode_document(n, document) for n, document in enumerate(documents)]


def variables(pairs: Sequence[str]) -> dict[str, str]:
    """`["a=1"]`, kumactl's `a=1,b=2` too. Raises CommandError."""
    found: dict[str, str] = {}
    for pair in pairs:
        for part in _PAIRS.split(pair):
            name, separator, value = part.partition("=")
            if not separator or not name:
                raise CommandError(f"--var {pair!r}: must be name=value")
            found[name] = value
    return found


def decode_document(position: int, document: Mapping[str, Any]) -> Resource:
    """One document as a resource, its structure checked. Raises CommandError."""
    title = f"resource[{position}]: failed to parse resource"
    try:
        return decode(document)
    except Invalid as invalid:
        reasons = "".join(f"\n* {error.field}: {error.reason}" for error in invalid.errors)
        raise CommandError(f"{title}: Resource is not valid{reasons}") from None
    except BadRequest as error:
        raise CommandError(f"{title}: {error.detail}") from None


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
    if source.startswith(("http://", "https://")):
        yield source, _limited(_fetched(source), source)
        return
    path = Path(source)
    if path.is_dir() and not any(path.glob("*.y*ml")):
        raise Unreadable(f"{path}: no *.yaml or *.yml file in this directory")
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    for file in files:
        try:
            with open(file, "rb") as opened:
                yield str(file), _limited(opened.read(FILE_BYTES_MAX + 1), str(file))
        except OSError as error:
            raise Unreadable(f"error while reading {file}: {error.strerror}") from None


def _fetched(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=URL_TIMEOUT_S) as answer:
            content: bytes = answer.read(FILE_BYTES_MAX + 1)
            return content
    except urllib.error.HTTPError as error:
        raise Unreadable(f"error while retrieving {url}: status {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreadable(f"error while retrieving {url}: {reason}") from None


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
    with contextlib.suppress(yaml.YAMLError):  # told below, with the number of its document
        _check_depth(name, text)
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


def _check_depth(name: str, text: str) -> None:
    """Before anything is built: the C composer recurses, and overflows its stack on `[[[[…`."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DOCUMENT_DEPTH_MAX:
                raise CommandError(f"{name}: nests deeper than {DOCUMENT_DEPTH_MAX} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Loader(yaml.CSafeLoader):
    """YAML's plain types without its dates: a time stays the text that was written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
