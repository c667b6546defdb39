"""`raftmesh apply --prune -l label=value`: what carries the label and is not in the documents goes.

The label is the set: a resource belongs to it because somebody wrote the label. So pruning needs one,
every document has to carry it, and nothing without it is ever touched. Each deletion is made on the
condition that the resource is still what was shown, in the transaction that writes the documents.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from cp.cli.client import Client
from cp.cli.common import all_items, path_of
from cp.cli.errors import CommandError
from mesh.registry import KINDS, Kind
from mesh.resource import Resource, ResourceKey

Labels = Mapping[str, str]


def add_prune_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prune", action="store_true", help="delete what has the labels of -l and is not in the documents"
    )
    add_selector_flag(parser)


def add_selector_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-l",
        "--selector",
        action="append",
        default=[],
        metavar="LABEL=VALUE",
        help="repeat for more, all hold",
    )


def labels_of(selector: Iterable[str]) -> dict[str, str]:
    """`["a=1,b=2"]` as labels. Raises CommandError."""
    labels = {}
    for part in (part for each in selector for part in each.split(",") if part):
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise CommandError(f"-l {part!r}: must be label=value")
        labels[name] = value
    return labels


def has_labels(document: Mapping[str, Any], labels: Labels) -> bool:
    found = document.get("labels") or {}
    return all(found.get(name) == value for name, value in labels.items())


def pruned(client: Client, resources: list[Resource], selector: list[str]) -> list[dict[str, Any]]:
    """The deletions, meshes last since they take along what is in them. Raises CommandError."""
    labels = labels_of(selector)
    if not labels:
        raise CommandError("--prune needs -l label=value: without it everything else would be deleted")
    _check_membership(resources, labels)
    kept = {resource.key for resource in resources}
    found = [
        (kind, document)
        for kind in _prunable()
        for document in _labelled(client, kind, labels)
        if _key(kind, document) not in kept
    ]
    return [_deletion(client, kind, document, labels) for kind, document in found]


def _check_membership(resources: list[Resource], labels: Labels) -> None:
    """A document without the labels would be written now and never pruned."""
    for n, resource in enumerate(resources):
        if not has_labels({"labels": resource.labels}, labels):
            wanted = ",".join(f"{name}={value}" for name, value in labels.items())
            raise CommandError(
                f'resource[{n}]: {resource.kind} "{resource.name}" has not the labels {wanted} of --prune'
            )


def _prunable() -> list[Kind]:
    kinds = [kind for kind in KINDS.values() if kind.path and not kind.read_only]
    return sorted(kinds, key=lambda kind: kind.name == "Mesh")


def _labelled(client: Client, kind: Kind, labels: Labels) -> list[Mapping[str, Any]]:
    params = {f"filter[labels.{name}]": value for name, value in labels.items()}
    try:
        return all_items(client, f"/{kind.path}", params | {"consistency": "linearizable"})
    except CommandError as error:
        if error.status == 403:  # what somebody may not see, they do not delete either
            return []
        raise


def _key(kind: Kind, document: Mapping[str, Any]) -> ResourceKey:
    return ResourceKey(kind.name, document.get("mesh", "") if kind.scope == "mesh" else "", document["name"])


def _deletion(client: Client, kind: Kind, document: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    key = _key(kind, document)
    answer = client.call("GET", path_of(kind, key.mesh, key.name))
    if not has_labels(answer.body, labels):
        raise CommandError(f'{key.kind} "{key.name}" was changed meanwhile; try again')
    version = int(answer.headers["ETag"].strip('"'))
    return {"op": "delete", "type": key.kind, "mesh": key.mesh, "name": key.name, "ifVersion": version}
