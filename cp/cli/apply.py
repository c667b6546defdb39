"""`raftmesh apply` and `raftmesh delete`: write resources through whichever replica answers.

All documents of one `apply` are one transaction. `--dry-run` prints them as kumactl does, for a pipe to
read; what they would change stands between them, in comments.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cp.cli.batches import batches
from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of, render
from cp.cli.documents import add_document_flags, resources_of
from cp.cli.errors import CommandError, Unreachable
from cp.cli.plan import Answer, dry_run, proxy_lines, resource_lines, results_lines
from cp.cli.preconditions import add_if_match, add_if_none_match, conditions, version_of
from cp.cli.prune import add_prune_flags, pruned
from cp.limits import REASON_BYTES_MAX, TRANSACTION_DOCUMENTS_MAX
from mesh.codec import to_document
from mesh.resource import Resource

REASON_HEADER = "X-Raftmesh-Reason"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("apply", help="create or update resources, all or none")
    add_document_flags(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the resources instead of writing them")
    add_prune_flags(parser)
    add_if_match(parser)
    add_if_none_match(parser)
    parser.add_argument(
        "--in-batches",
        action="store_true",
        help=f"more than {TRANSACTION_DOCUMENTS_MAX} documents: in several transactions, each all or none",
    )
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_apply))

    parser = commands.add_parser("delete", help="delete a resource")
    parser.add_argument("type", metavar="TYPE")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-m", "--mesh", default="default")
    add_if_match(parser)
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_delete))


def handle_apply(args: argparse.Namespace) -> int:
    """All documents are one transaction, so that a fault in one changes nothing."""
    if args.selector and not args.prune:
        raise CommandError("-l goes with --prune")
    resources, client = resources_of(args), client_of(args)
    operations = conditions([{"op": "put", "resource": to_document(each)} for each in resources], args)
    if len(operations) > TRANSACTION_DOCUMENTS_MAX and not args.in_batches:
        raise CommandError(
            f"{len(operations)} documents; one transaction takes {TRANSACTION_DOCUMENTS_MAX}. "
            "Use --in-batches to write several, each all or none"
        )
    if args.dry_run and not args.prune:
        return _show(resources, _planned(client, operations))
    if args.prune:
        operations += pruned(client, resources, args.selector)
    if args.dry_run:
        return _show(resources, dry_run(client, operations))
    for operation in operations:
        if operation["op"] == "delete":
            print(f"to be pruned: {_named(operation)}")
    for batch in batches(operations) if args.in_batches else [operations]:
        for result in transact(client, batch, args.reason):
            for warning in result.get("warnings") or []:
                print(f"Warning: {warning}", file=sys.stderr)
            print(f"resource {_named(result)} {str(result['outcome']).capitalize()}")
    return 0


def _named(thing: dict[str, Any]) -> str:
    return f'type="{thing["type"]}" mesh="{thing["mesh"]}" name="{thing["name"]}"'


def _planned(client: Client, operations: list[dict[str, Any]]) -> Answer | None:
    """The plan; None where no control plane answers, since the documents alone need none."""
    try:
        return dry_run(client, operations)
    except Unreachable as error:
        print(f"Warning: what would change is not known: {error}", file=sys.stderr)
        return None


def _show(resources: list[Resource], plan: Answer | None) -> int:
    """Documents with what becomes of each as comments, so that the whole remains YAML."""
    results = list(plan["results"]) if plan else []
    for n, resource in enumerate(resources):
        sys.stdout.write("---\n" if n else "")
        sys.stdout.write(_comments(resource_lines(results[n])) if plan else "")
        sys.stdout.write(render(to_document(resource), "yaml"))
    others = results_lines(results[len(resources) :])
    sys.stdout.write(_comments([*others, *proxy_lines(plan)]) if plan else "")
    return 0


def _comments(lines: Any) -> str:
    return "".join(f"# {line}\n" for line in lines)


def transact(client: Client, operations: list[dict[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Write all or none; what became of each."""
    answer = client.call(
        "POST", "/transactions", body={"operations": operations}, headers=reason_headers(reason)
    )
    return list(answer.body["results"])


def add_reason_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", help="why; kept in the history")


def reason_headers(reason: str) -> dict[str, str]:
    """What --reason sends. Raises CommandError for what no header can carry."""
    if not reason:
        return {}
    if not reason.isprintable() or len(reason.encode(errors="replace")) > REASON_BYTES_MAX:
        raise CommandError(f"--reason: must be one line of at most {REASON_BYTES_MAX} bytes")
    return {REASON_HEADER: reason}


def handle_delete(args: argparse.Namespace) -> int:
    kind = kind_of(args.type)
    headers = reason_headers(args.reason)
    if args.if_match:
        headers["If-Match"] = f'"{version_of(args.if_match, "--if-match")}"'
    path = path_of(kind, args.mesh, args.name)
    answer = client_of(args).call("DELETE", path, headers=headers, missing_ok=True)
    if answer.status == 404:
        raise CommandError(f'there is no {kind.name} with name "{args.name}"')
    print(f'deleted {kind.name} "{args.name}"')
    return 0
