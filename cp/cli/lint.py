"""`raftmesh lint`: check documents by the control plane's own code, without a control plane.

The documents are planned as one transaction on an empty state, by what a control plane plans a write
with: decoding, labels, who may write what in which mode, validation, warnings. A mesh that they name and
do not hold is taken for granted; what else only the stored state can tell is left to the server.

Exit status, for CI: 0 all valid; 1 some are invalid (with `--strict`, or have warnings); 2 they could not
be read, or the arguments are wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from cp.cli.documents import Unreadable, add_document_flags, read, variables
from cp.cli.errors import CommandError
from cp.config import load
from cp.config_schema import Config
from cp.plan import Plan, PutOp, plan
from cp.problems import Problem
from cp.resources import everything_allowed
from mesh.codec import decode
from mesh.errors import BadRequest, Invalid
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import View

VALID, INVALID, UNREADABLE = 0, 1, 2


class Finding(NamedTuple):
    """What is wrong with one document. key: None for one that is no resource."""

    position: int
    key: ResourceKey | None
    title: str
    faults: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("lint", help="check documents without a control plane")
    add_document_flags(parser)
    parser.add_argument("--strict", action="store_true", help="fail for warnings, too")
    parser.add_argument("--mode", choices=("zone", "global"), default="zone", help="of the control plane")
    parser.add_argument("--zone", default="", help="its zone's name (default: default)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """All faults of all documents, each under its document."""
    try:
        documents = read(args.file or ["-"], variables(args.var))
    except CommandError as error:
        print(f"Error: {error}", file=sys.stderr)
        return UNREADABLE if isinstance(error, Unreadable) else INVALID
    found = findings(documents, _config(args))
    failed = sum(bool(each.title) for each in found)
    warned = sum(bool(each.warnings) for each in found)
    if args.output == "json":
        sys.stdout.write(orjson.dumps([_document(each) for each in found]).decode() + "\n")
    else:
        for each in found:
            _tell(each)
        print(f"{len(documents)} checked, {failed} invalid, {warned} with warnings")
    return INVALID if failed or (args.strict and warned) else VALID


def _config(args: argparse.Namespace) -> Config:
    """The settings of a control plane of that mode and zone, all others as they come."""
    zone = {"KUMA_MULTIZONE_ZONE_NAME": args.zone} if args.zone else {}
    return load(None, {"KUMA_MODE": args.mode, **zone}).config


def findings(documents: Sequence[Mapping[str, Any]], config: Config) -> list[Finding]:
    """One for each document that has a fault or a warning, in the order of the documents."""
    return sorted(_findings(documents, config), key=lambda found: found.position)


def _findings(documents: Sequence[Mapping[str, Any]], config: Config) -> Iterator[Finding]:
    view = _granted(documents)
    seen: dict[ResourceKey, int] = {}
    for n, document in sorted(enumerate(documents), key=_meshes_first):
        try:
            made: Plan = plan(view, [PutOp(document)], config, allowed=everything_allowed)
        except Problem as problem:
            faults = tuple((each.field, each.reason) for each in problem.invalid)
            yield Finding(n, _key(document), problem.detail, faults, ())
            continue
        view, result = made.view, made.results[0]
        warnings = result.warnings
        if result.key in seen:
            warnings += (f"the same resource as resource[{seen[result.key]}]; the later one counts",)
        seen[result.key] = n
        if warnings:
            yield Finding(n, result.key, "", (), warnings)


def _meshes_first(numbered: tuple[int, Mapping[str, Any]]) -> int:
    return 0 if "Mesh" in (numbered[1].get("type"), numbered[1].get("kind")) else 1


def _granted(documents: Iterable[Mapping[str, Any]]) -> View:
    """The meshes that documents name and none of them is."""
    resources = [each for each in map(_decoded, documents) if each is not None]
    named = {each.mesh for each in resources if KINDS[each.kind].scope == "mesh" and each.mesh}
    held = {each.name for each in resources if each.kind == "Mesh"}
    return View.of(decode({"type": "Mesh", "name": mesh}) for mesh in sorted(named - held))


def _decoded(document: Mapping[str, Any]) -> Resource | None:
    try:
        return decode(document)
    except (Invalid, BadRequest):
        return None


def _key(document: Mapping[str, Any]) -> ResourceKey | None:
    resource = _decoded(document)
    if resource is not None:
        return resource.key
    texts = [str(document.get(part, "")) for part in ("type", "mesh", "name")]
    return ResourceKey(*texts) if document.get("type") in KINDS else None


def _tell(found: Finding) -> None:
    where = f"resource[{found.position}]"
    if found.title:
        what = f'{found.key.kind} "{found.key.name}"' if found.key else "no resource"
        verdict = "is not valid" if found.faults else f"cannot be written: {found.title}"
        lines = "".join(f"\n* {field}: {reason}" for field, reason in found.faults)
        print(f"Error: {where}: {what} {verdict}{lines}", file=sys.stderr)
    for warning in found.warnings:
        print(f"Warning: {where}: {warning}", file=sys.stderr)


def _document(found: Finding) -> dict[str, Any]:
    key = found.key or ResourceKey("", "", "")
    return {
        "position": found.position,
        "type": key.kind,
        "mesh": key.mesh,
        "name": key.name,
        "error": found.title,
        "invalid_parameters": [{"field": field, "reason": reason} for field, reason in found.faults],
        "warnings": list(found.warnings),
    }
