"""`raftmesh generate`: tokens, signing keys and TLS certificates, with kumactl's arguments.

A token comes from the control plane, or, with `--signing-key-path`, from a key on this machine
that the control plane knows only the public half of.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from cp.api.tokens import PROXY_TYPES, SCOPES
from cp.cli.certificates import save_certificate
from cp.cli.common import add_connection_flags, client_of, guarded
from cp.cli.errors import CommandError
from cp.duration import parse_duration
from cp.tokens import dataplane_claims, new_key, read_public_key, sign, user_claims, zone_claims

KEY_FILE_BYTES_MAX = 1 << 16  # an RSA key of 16,384 bits has 13 kB in PEM


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("generate", help="make tokens, signing keys and certificates")
    actions = group.add_subparsers(dest="action", required=True, metavar="WHAT")
    dataplane = _token(actions, "dataplane-token", "a token for a data plane proxy", dataplane_token)
    dataplane.add_argument("--name", default="", help="of the only Dataplane that it is for")
    dataplane.add_argument("-m", "--mesh", default="default")
    dataplane.add_argument("--tag", action="append", default=[], metavar="K=V", help="which it may have")
    dataplane.add_argument("--proxy-type", default="", choices=PROXY_TYPES)
    dataplane.add_argument("--workload", default="")
    zone = _token(actions, "zone-token", "a token for a zone, its proxies and control plane", zone_token)
    zone.add_argument("--zone", default="", help="the only zone that it is for")
    zone.add_argument("--scope", action="append", default=[], help=f"of {', '.join(SCOPES)} (default: all)")
    user = _token(actions, "user-token", "a token for a user of the API", user_token)
    user.add_argument("--name", required=True)
    user.add_argument("--group", action="append", default=[])
    key = actions.add_parser("signing-key", help="a key that signs tokens")
    key.add_argument("--format", choices=("pem", "pem-base64"), default="pem-base64")
    key.set_defaults(handler=guarded(signing_key))
    public = actions.add_parser("public-key", help="the public half of a signing key")
    public.add_argument("--signing-key-path", required=True, metavar="FILE")
    public.set_defaults(handler=guarded(public_key))
    certificate = actions.add_parser("tls-certificate", help="a self-signed certificate and its key")
    certificate.add_argument("--type", choices=("server", "client"), required=True)
    certificate.add_argument("--hostname", "--cp-hostname", action="append", default=[], metavar="H1,H2")
    certificate.add_argument("--key-type", choices=("rsa", "ecdsa"), default="rsa")
    certificate.add_argument("--key-file", default="key.pem", help="- for standard output")
    certificate.add_argument("--cert-file", default="cert.pem", help="- for standard output")
    certificate.set_defaults(handler=guarded(save_certificate))


def _token(actions: Any, name: str, text: str, handler: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.add_argument("--valid-for", required=True, metavar="DURATION", help="e.g. 720h")
    parser.add_argument("--signing-key-path", default="", metavar="FILE", help="sign here, without the API")
    parser.add_argument("--kid", default="", help="the id of that key, as the control plane knows it")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handler))
    return parser


# --- tokens ---------------------------------------------------------------------------------


def dataplane_token(args: argparse.Namespace) -> int:
    tags = _tags(args.tag)
    claims = dataplane_claims(args.name, args.mesh, tags, args.proxy_type or "dataplane", args.workload)
    body = {"name": args.name, "mesh": args.mesh, "tags": tags, "type": args.proxy_type}
    if args.workload:
        body["workload"] = args.workload
    return _print_token(args, "dataplane", body, claims)


def zone_token(args: argparse.Namespace) -> int:
    scope = _parts(args.scope) or list(SCOPES)
    for wrong in (each for each in scope if each not in SCOPES):
        raise CommandError(f"--scope: unknown scope {wrong!r}; allowed: {', '.join(SCOPES)}")
    return _print_token(args, "zone", {"zone": args.zone, "scope": scope}, zone_claims(args.zone, scope))


def user_token(args: argparse.Namespace) -> int:
    groups = _parts(args.group)
    return _print_token(args, "user", {"name": args.name, "groups": groups}, user_claims(args.name, groups))


def _print_token(
    args: argparse.Namespace, kind: str, body: Mapping[str, Any], claims: Mapping[str, Any]
) -> int:
    """Without a newline, as kumactl prints it: the output is often put straight into a file."""
    try:
        valid_s = parse_duration(args.valid_for)
    except ValueError as error:
        raise CommandError(f"--valid-for: {error}") from None
    if valid_s <= 0:
        raise CommandError("--valid-for: must be longer than nothing")
    if bool(args.signing_key_path) != bool(args.kid):
        raise CommandError("--signing-key-path and --kid go together")
    if args.signing_key_path:
        pem = _key_file(args.signing_key_path)
        try:
            token = sign(pem, args.kid, claims, int(time.time()), valid_s)
        except ValueError as error:
            raise CommandError(f"{args.signing_key_path} is no signing key: {error}") from None
    else:
        answer = client_of(args).call("POST", f"/tokens/{kind}", body={**body, "validFor": args.valid_for})
        token = str(answer.body)
    sys.stdout.write(token)
    return 0


def _parts(given: list[str]) -> list[str]:
    return [part for each in given for part in each.split(",") if part]


def _tags(given: list[str]) -> dict[str, list[str]]:
    """`--tag a=1,b=2 --tag a=3`: each tag with all values that are allowed."""
    tags: dict[str, list[str]] = {}
    for part in _parts(given):
        name, separator, value = part.partition("=")
        if not separator or not name or not value:
            raise CommandError(f"--tag {part!r}: must be name=value")
        tags.setdefault(name, []).append(value)
    return tags


# --- keys -----------------------------------------------------------------------------------


def signing_key(args: argparse.Namespace) -> int:
    pem = new_key()
    sys.stdout.write((pem if args.format == "pem" else base64.b64encode(pem)).decode())
    return 0


def public_key(args: argparse.Namespace) -> int:
    try:
        key = read_public_key(_key_file(args.signing_key_path))
    except ValueError as error:
        raise CommandError(f"{args.signing_key_path} is no signing key: {error}") from None
    form = serialization.PublicFormat.PKCS1
    sys.stdout.write(key.public_bytes(serialization.Encoding.PEM, form).decode())
    return 0


def _key_file(path: str) -> bytes:
    """The PEM of a key file, which may be in base64, as `generate signing-key` prints it."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError(f"reading {path}: {error.strerror}") from None
    if len(content) > KEY_FILE_BYTES_MAX:
        raise CommandError(f"{path} is larger than {KEY_FILE_BYTES_MAX} bytes; not a key")
    if content.lstrip().startswith(b"-----"):
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except ValueError:
        raise CommandError(f"{path} is neither PEM nor PEM in base64") from None
