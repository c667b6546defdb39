"""`raftmesh export`: all resources as documents that can be applied again, with kumactl's profiles.

Every list is read at one log index, so that the export is one state that once was, and `--at` exports
the past. Meshes come first, with no policies of their own to create, since those are in the export;
then their secrets; what decides who may go on writing comes last: access, and the keys of user tokens.

The profiles for federation make documents that Global can take over: without origin, with the exported
authority of a mesh in the place of one that its zone made (`builtin` becomes `provided`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cp.cli.client import INDEX_HEADER, Client
from cp.cli.common import add_connection_flags, all_items, client_of, guarded, render
from cp.cli.errors import CommandError
from cp.cli.get import resource_yaml
from cp.cli.terminal import Progress
from mesh.codec import decode, to_kubernetes
from mesh.errors import BadRequest, Invalid
from mesh.registry import KINDS, Kind
from mesh.resource import ORIGIN

Document = dict[str, Any]
PROFILES = ("all", "federation", "federation-with-policies", "no-dataplanes")
FORMATS = ("universal", "kubernetes")
_FEDERATION = ("federation", "federation-with-policies")
# Each control plane has authorities of its own; another's would break its TLS.
OWN_AUTHORITIES = ("envoy-admin-ca", "inter-cp-ca")
USER_KEYS = "user-token-signing-key"
_FIRST, _SECRETS, _REST, _ACCESS, _GLOBAL_SECRETS, _LAST = range(6)
_PLACES = {
    "Mesh": _FIRST,
    "Secret": _SECRETS,
    "AccessRole": _ACCESS,
    "AccessRoleBinding": _ACCESS,
    "GlobalSecret": _GLOBAL_SECRETS,
}


class Chosen(NamedTuple):
    """kinds: those of the profile that we know; unknown: names of those that we do not."""

    kinds: list[Kind]
    unknown: list[str]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("export", help="print all resources, so that they can be applied again")
    add = parser.add_argument
    add("-p", "--profile", default="federation", metavar="PROFILE", help=f"of {', '.join(PROFILES)}")
    add("-f", "--format", default="universal", metavar="FORMAT", help=f"of {', '.join(FORMATS)}")
    add(
        "-a",
        "--include-admin",
        action="store_true",
        help="secrets, too; profiles for federation have them anyway",
    )
    add("-n", "--system-namespace", default="kuma-system", help="with --format kubernetes")
    add("--at", default="", metavar="INDEX|TIME", help="as it was then")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    for name, allowed in (("profile", PROFILES), ("format", FORMATS)):
        if getattr(args, name) not in allowed:
            raise CommandError(f'invalid {name}: "{getattr(args, name)}". Allowed: {", ".join(allowed)}')
    client = client_of(args)
    print(_header(client.call("GET", "/").body))
    chosen = choose(client.call("GET", "/_resources").body, args.profile, args.include_admin)
    if chosen.unknown:
        told = f"these types are not exported because they are unknown here: {', '.join(chosen.unknown)}"
        print(f"# {told}")
        print(f"WARNING: {told}", file=sys.stderr)
    documents = read(client, chosen.kinds, args.at)
    for document in arranged(documents, args.profile):
        sys.stdout.write(f"---\n{_text(document, args)}")
    return 0


def _header(index: Any) -> str:
    names = {"Product": "product", "Version": "version", "Hostname": "hostname"}
    names |= {"ClusterId": "clusterId", "InstanceId": "instanceId"}
    if not isinstance(index, dict) or "version" not in index:
        raise CommandError("that address answers, but not as a control plane")
    return "# " + ", ".join(f"{name}: {index.get(key, '')}" for name, key in names.items())


def choose(resources: Any, profile: str, include_admin: bool) -> Chosen:
    """The kinds of a profile, by what the control plane serves (`/_resources`)."""
    served = resources.get("resources") if isinstance(resources, dict) else None
    if not isinstance(served, list):
        raise CommandError("/_resources: the answer is no list of kinds")
    kinds, unknown = [], []
    for each in served:
        kind = KINDS.get(each["name"])
        if kind is None:
            unknown.append(str(each["name"]))
        elif not kind.read_only and _is_in(profile, kind, each, include_admin):
            kinds.append(kind)
    return Chosen(sorted(kinds, key=lambda kind: (_PLACES.get(kind.name, _REST), kind.name)), unknown)


def _is_in(profile: str, kind: Kind, served: Mapping[str, Any], include_admin: bool) -> bool:
    if profile in _FEDERATION:
        with_policies = profile == "federation-with-policies"
        return bool(served.get("includeInFederation")) and (with_policies or not kind.is_policy)
    if kind.admin_only and not include_admin:
        return False
    return profile == "all" or kind.name != "Dataplane"


def read(client: Client, kinds: Iterable[Kind], at: str = "") -> list[Document]:
    """All resources of these kinds, as they were at one moment."""
    first = client.call("GET", "/meshes", params={"at": at, "size": "1"} if at else {"size": "1"})
    index = first.headers.get(INDEX_HEADER, "")
    params = {"at": index} if index else {}
    found: list[Document] = []
    with Progress() as progress:
        for kind in kinds:
            progress.tell(f"reading {kind.path} ({len(found)} resources so far)")
            found += map(dict, all_items(client, f"/{kind.path}", params))
    return found


def arranged(documents: Iterable[Document], profile: str = "all") -> list[Document]:
    """In the order in which they can be applied, each as the profile wants it."""
    kept = [document for document in documents if not _is_own_authority(document)]
    secrets = {(each["mesh"], each["name"]) for each in kept if each["type"] == "Secret"}
    made = [_exported(document, profile, secrets) for document in kept]
    return sorted(made, key=_place)


def _is_own_authority(document: Document) -> bool:
    return document["type"] == "GlobalSecret" and document["name"] in OWN_AUTHORITIES


def _place(document: Document) -> tuple[int, str, str, str]:
    place = _PLACES.get(document["type"], _REST)
    if document["type"] == "GlobalSecret" and document["name"].startswith(USER_KEYS):
        place = _LAST
    return place, document["type"], document.get("mesh", ""), document["name"]


def _exported(document: Document, profile: str, secrets: set[tuple[str, str]]) -> Document:
    made = dict(document)
    if made["type"] == "Mesh":
        made["skipCreatingInitialPolicies"] = ["*"]
    if profile in _FEDERATION:
        labels = {name: value for name, value in made.get("labels", {}).items() if name != ORIGIN}
        made.pop("labels", None)
        made |= {"labels": labels} if labels else {}
        if made["type"] == "Mesh" and made.get("mtls"):
            made["mtls"] = _provided(made["name"], made["mtls"], secrets)
    return made


def _provided(mesh: str, mtls: Document, secrets: set[tuple[str, str]]) -> Document:
    """Builtin authorities whose secrets are exported, named as provided ones."""
    backends = []
    for backend in mtls.get("backends") or ():
        names = {part: f"{mesh}.ca-builtin-{part}-{backend['name']}" for part in ("cert", "key")}
        if backend.get("type") == "builtin" and all((mesh, name) in secrets for name in names.values()):
            conf = {part: {"secret": name} for part, name in names.items()}
            backend = backend | {"type": "provided", "conf": conf}
        backends.append(backend)
    return mtls | {"backends": backends}


def _text(document: Document, args: argparse.Namespace) -> str:
    kind = KINDS[document["type"]]
    if args.format == "universal":
        return resource_yaml(kind, document)
    try:
        manifest = to_kubernetes(decode(document))
    except (Invalid, BadRequest) as error:
        raise CommandError(f'{kind.name} "{document["name"]}" has no Kubernetes form: {error}') from None
    if kind.wrapped or kind.admin_only:
        manifest["metadata"].setdefault("namespace", args.system_namespace)
    return render(manifest, "yaml")
