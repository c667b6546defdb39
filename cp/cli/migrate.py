"""`raftmesh migrate kuma --address URL`: copy a running Kuma, by its API, into this cluster.

First the plan: what is created, what is changed and how, what stays behind and why. Then, when it is
confirmed, transactions; then a report. Nothing is ever written to the source, and nothing is deleted
here; running it again copies what changed since. Exit status: 0 when everything was copied that is for
this control plane, 3 when something could not be, 1 when it failed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cp.cli.apply import add_reason_flag, reason_headers
from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded
from cp.cli.contexts import ControlPlane, address_of
from cp.cli.errors import CommandError
from cp.cli.export import USER_KEYS
from cp.cli.kuma import LEGACY, Inventory, take_inventory
from cp.cli.migration import Action, Item, Migration, Outcome, plan, write
from cp.cli.rollback import add_confirmation_flag, confirmed
from cp.cli.tables import table
from cp.cli.terminal import Progress, coloured
from cp.fielddiff import of_document

INCOMPLETE = 3
NAMED_MAX = 20  # of each kind and reason; all are counted


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("migrate", help="copy another control plane into this one")
    sources = group.add_subparsers(dest="source", required=True, metavar="SOURCE")
    parser = sources.add_parser("kuma", help="a running Kuma, by its HTTP API")
    add = parser.add_argument
    add("--address", action="append", required=True, metavar="URL", help="its API, e.g. http://kuma:5681")
    add("--token", default="", help="of a user that may read everything; secrets need an administrator's")
    add("--ca-cert-file", default="", help="to verify its certificate by")
    add("--skip-verify", action="store_true", help="do not verify its certificate")
    add("--verbose", action="store_true", help="name every resource, also those that stay as they are")
    add_confirmation_flag(parser)
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    addresses = tuple(map(address_of, args.address))
    source = Client(ControlPlane("source", addresses, args.ca_cert_file, args.skip_verify, token=args.token))
    target = client_of(args)
    with Progress() as progress:
        found = take_inventory(source, progress.tell)
        _check_modes(target, found)
        made = plan(target, found, progress.tell)
    print(f"plan: from {found.product} ({found.mode}) at {addresses[0]}")
    for line in plan_lines(found, made, verbose=args.verbose):
        print(coloured(line))
    writes = made.of("create", "update")
    if not writes:
        print("nothing to write")
        return INCOMPLETE if missing(found, made) else 0
    if not confirmed(args):
        return INCOMPLETE if missing(found, made) else 0
    reason = args.reason or f"migrated from {addresses[0]}"[:200]
    with Progress() as progress:
        outcome = write(target, made, reason_headers(reason), progress.tell)
    for line in report_lines(found, made, outcome):
        print(line)
    if outcome.failed or outcome.differing:
        return 1
    return INCOMPLETE if missing(found, made) else 0


def _check_modes(target: Client, found: Inventory) -> None:
    """A zone's resources are no Global's: origins, zones and rights to write differ."""
    config = target.call("GET", "/config").body
    mode = config.get("mode", "zone") if isinstance(config, dict) else "zone"
    if mode != found.mode:
        raise CommandError(
            f"the source is a {found.mode} control plane and this is a {mode} one; migrate like to like"
        )


# --- the plan, for a person ---------------------------------------------------------------


def plan_lines(found: Inventory, made: Migration, *, verbose: bool) -> Iterator[str]:
    """The counts, then what changes, then what stays behind and why."""
    yield from _counts(made)
    for item in made.of("update"):
        yield f"update {_name(item)}"
        yield from (f"    {of_document(change)}" for change in item.changes)
    for item in made.of("create", "keep") if verbose else ():
        yield f"{item.action} {_name(item)}"
    yield from _left(found, made)
    if made.only_here:
        yield f"only here, in force, and kept: {_some([f'{k.kind} {k.mesh}/{k.name}' for k in made.only_here])}"
    if any(item.key.name.startswith(USER_KEYS) for item in made.of("create", "update")):
        yield "the keys of user tokens are written last: tokens of this cluster's users may end with that"


def _counts(made: Migration) -> Iterator[str]:
    actions: tuple[Action, ...] = ("create", "update", "keep", "skip", "refuse")
    counted = Counter((item.key.kind, item.action) for item in made.items)
    kinds = sorted({kind for kind, _ in counted})
    rows = [[kind, *(str(counted[kind, action]) for action in actions)] for kind in kinds]
    yield from table(["KIND", *(action.upper() for action in actions)], rows).splitlines()


def _left(found: Inventory, made: Migration) -> Iterator[str]:
    for reason, items in _by_reason(made.of("skip")):
        yield f"stays behind: {_some([_name(item) for item in items])}: {reason}"
    for item in made.of("refuse"):
        yield f"cannot be copied: {_name(item)}: {item.reason}"
    for kind, (count, reason) in sorted(found.left.items()):
        if count:
            yield f"{'cannot be copied' if reason == LEGACY else 'stays behind'}: {count} {kind}: {reason}"
    for kind, reason in sorted(found.denied.items()):
        yield f"cannot be copied: {kind}: {reason}"


def _by_reason(items: Iterable[Item]) -> Iterator[tuple[str, list[Item]]]:
    reasons: dict[str, list[Item]] = {}
    for item in items:
        reasons.setdefault(item.reason, []).append(item)
    yield from reasons.items()


def _name(item: Item) -> str:
    key = item.key
    return f"{key.kind} {key.mesh}/{key.name}" if key.mesh else f"{key.kind} {key.name}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def missing(found: Inventory, made: Migration) -> bool:
    """Whether something is for this control plane and could not be copied."""
    legacy = any(count and reason == LEGACY for count, reason in found.left.values())
    return bool(made.of("refuse") or found.denied or legacy)


# --- the report ---------------------------------------------------------------------------


def report_lines(found: Inventory, made: Migration, outcome: Outcome) -> Iterator[str]:
    """What was done, and what is left to do by hand."""
    kept, skipped = len(made.of("keep")), len(made.of("skip"))
    yield f"report: {outcome.written} written in {outcome.transactions} transactions, {kept} were here already"
    yield f"{skipped} stay behind, {len(made.of('refuse'))} could not be copied"
    yield from (f"failed: a transaction of {count} resources: {reason}" for count, reason in outcome.failed)
    if outcome.differing:
        yield f"differing: {outcome.differing} resources are not as they were written; somebody else wrote them"
    elif not outcome.failed:
        yield "looked again: everything that was written is here as it is in the source"
    if missing(found, made):
        yield "what could not be copied is named in the plan above"
