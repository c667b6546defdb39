"""`raftmesh plan`, and what `apply` and `rollback` show first: what a transaction would change.

The control plane answers, by the code that would write it: which fields of which resources differ, and
which proxies would get which Envoy resources anew.

    update MeshTimeout "slow" in mesh "default"
        ~ spec.to[0].default.connectionTimeout: "1s" -> "2s"
    2 proxies would change:
        default/web: ~ Cluster backend
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded
from cp.cli.documents import add_document_flags, resources_of
from cp.cli.errors import CommandError
from cp.cli.terminal import coloured
from cp.fielddiff import of_document
from mesh.codec import to_document

Operation = dict[str, Any]
Answer = Mapping[str, Any]
IMPLIED_SHOWN_MAX = 20  # a screenful: a mesh may hold thousands
CHANGES = 2  # the exit status of --exit-code for a plan that changes something

_VERBS = {"created": "create", "updated": "update", "deleted": "delete", "unchanged": "keep"}
_SIGNS = {"add": "+", "change": "~", "remove": "-"}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("plan", help="what apply would change, of resources and of proxies")
    add_document_flags(parser)
    parser.add_argument(
        "--exit-code", action="store_true", help=f"exit with {CHANGES} when something would change"
    )
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    operations = [{"op": "put", "resource": to_document(each)} for each in resources_of(args)]
    answer = dry_run(client_of(args), operations)
    show(answer)
    changes = any(each["outcome"] != "unchanged" for each in answer["results"])
    return CHANGES if args.exit_code and changes else 0


def dry_run(client: Client, operations: list[Operation]) -> Answer:
    """What the transaction would change. Raises CommandError where it would be refused."""
    body = client.call(
        "POST", "/transactions", body={"operations": operations}, params={"dryRun": "true"}
    ).body
    if not isinstance(body, dict) or "results" not in body:
        raise CommandError("the control plane answers, but not with a plan; is it older than this command?")
    return body


def show(answer: Answer) -> None:
    """For a person: with colours where they are seen."""
    for line in [*results_lines(answer["results"]), *proxy_lines(answer)]:
        print(coloured(line))


def results_lines(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What becomes of each resource. Of what follows by itself (all that is in a mesh that goes), the first."""
    implied = 0
    for each in results:
        implied += bool(each.get("implied"))
        if not each.get("implied") or implied <= IMPLIED_SHOWN_MAX:
            yield from resource_lines(each)
    if implied > IMPLIED_SHOWN_MAX:
        yield f"and {implied - IMPLIED_SHOWN_MAX} more, by what stands above"


def resource_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What becomes of one resource, and of which fields when it stays."""
    where = f' in mesh "{result["mesh"]}"' if result["mesh"] else ""
    implied = ", by what stands above" if result.get("implied") else ""
    verb = _VERBS[result["outcome"]]
    yield f'{verb} {result["type"]} "{result["name"]}"{where}{implied}'
    if verb == "update":
        yield from (f"    {of_document(change)}" for change in result["changes"])
    yield from (f"    warning: {warning}" for warning in result.get("warnings") or ())


def proxy_lines(answer: Answer) -> Iterator[str]:
    """Which proxies would change, and what of each."""
    proxies, total = answer.get("proxies") or [], answer.get("proxiesTotal", 0)
    if total:
        yield f"{total} {'proxy' if total == 1 else 'proxies'} would change:"
    for proxy in proxies:
        name = "/".join(part for part in (proxy["mesh"], proxy["name"]) if part)
        if proxy["op"] != "change":
            yield f"    {name}: {proxy['op']}, with {proxy['resourcesTotal']} resources"
            continue
        named = [
            f"{_SIGNS[each['op']]} {each['type'].rpartition('.')[2]} {each['name']}"
            for each in proxy["resources"]
        ]
        if (more := proxy["resourcesTotal"] - len(named)) > 0:
            named.append(f"and {more} more")
        yield f"    {name}: {', '.join(named)}"
    if total > len(proxies):
        yield f"    and {total - len(proxies)} more"
    if reason := answer.get("proxiesReason"):
        yield f"not told of proxies: {reason}"
