"""`raftmesh dp run`: the command line of the data-plane runner (kuma-dp's flags and environment)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from dp.envoy import ENVOY_LOG_LEVELS
from dp.errors import BadInput, RunnerError
from dp.options import (
    DATAPLANE_FILE_BYTES_MAX,
    PROXY_KINDS,
    TOKEN_FILE_BYTES_MAX,
    Options,
    check_addresses,
    default_work_dir,
    load_resource,
    parse_variables,
    read_limited,
)
from dp.runner import run


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `dp` with its subcommands."""
    group = commands.add_parser("dp", help="run the proxy beside a service")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser("run", help="bootstrap and supervise one Envoy")
    _add_proxy_flags(parser)
    _add_envoy_flags(parser)
    parser.set_defaults(handler=handle)


def _env(name: str, default: str = "") -> str:
    return os.environ.get(f"RAFTMESH_{name}", os.environ.get(f"KUMA_{name}", default))


def _add_proxy_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cp-address", action="append", default=[], metavar="URL", help="a control plane; repeat for more")
    add("--name", default=_env("DATAPLANE_NAME"), help="name of the proxy (default: from the file)")
    add("-m", "--mesh", default=_env("DATAPLANE_MESH"), help="its mesh (default: from the file)")
    add("--proxy-type", default=_env("DATAPLANE_PROXY_TYPE", "dataplane"), choices=sorted(PROXY_KINDS))
    add(
        "-d",
        "--dataplane-file",
        default=_env("DATAPLANE_RUNTIME_RESOURCE_PATH"),
        help="YAML of the Dataplane",
    )
    add("--dataplane", default=_env("DATAPLANE_RUNTIME_RESOURCE"), help="the same, inline")
    add(
        "-v",
        "--dataplane-var",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for {{ NAME }} in it",
    )
    add("--dataplane-token", default=_env("DATAPLANE_RUNTIME_TOKEN"))
    add("--dataplane-token-file", default=_env("DATAPLANE_RUNTIME_TOKEN_PATH"))
    add("--ca-cert-file", default=_env("CONTROL_PLANE_CA_CERT_FILE"), help="CA of the control planes (PEM)")
    add("--skip-verify", action="store_true", help="do not verify the control planes (tests only)")


def _add_envoy_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--binary-path",
        default=_env("DATAPLANE_RUNTIME_BINARY_PATH"),
        help="Envoy (default: the bundled one)",
    )
    add("--work-dir", "--config-dir", default=_env("DATAPLANE_RUNTIME_WORK_DIR"))
    add("--concurrency", type=int, default=None, help="worker threads (default: what the machine allows)")
    add(
        "--admin-port",
        type=int,
        default=None,
        metavar="PORT",
        help="where control planes (mutual TLS) reach Envoy's admin; 0: nowhere (default: a free port)",
    )
    add("--drain-time", default=_env("DATAPLANE_DRAIN_TIME", "30s"), help="for open connections, e.g. 30s")
    add(
        "--envoy-log-level",
        default=_env("DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL", "info"),
        choices=ENVOY_LOG_LEVELS,
    )
    add("--envoy-component-log-level", default=_env("DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL"))
    add("--bootstrap-timeout", default="5m", help="how long to look for a control plane, e.g. 5m")


def parse_duration(text: str, option: str) -> float:
    """Seconds of "30s", "5m", "1h", "250ms" or a bare number of seconds."""
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if text.endswith(suffix):
            try:
                seconds = float(text[: len(text) - len(suffix)]) * factor
            except ValueError:
                break
            if seconds >= 0:
                return seconds
            break
    raise BadInput(f"{option} {text!r}: must be a duration such as 30s, 5m or 250ms")


def options_from(args: argparse.Namespace) -> Options:
    """Check everything that can be checked before a control plane is asked. Raises BadInput."""
    if not args.cp_address and (address := _env("CONTROL_PLANE_URL")):
        args.cp_address = address.split(",")
    resource = None
    if args.dataplane_file and args.dataplane:
        raise BadInput("--dataplane-file and --dataplane exclude each other")
    text = args.dataplane
    if args.dataplane_file:
        content = read_limited(args.dataplane_file, DATAPLANE_FILE_BYTES_MAX, "--dataplane-file")
        text = content.decode(errors="replace")
    if text:
        resource = load_resource(text, parse_variables(args.dataplane_var), args.proxy_type)
    name = resource["name"] if resource else args.name
    mesh = resource.get("mesh", "") if resource else args.mesh
    if not name:
        raise BadInput("--name: give the proxy's name, or its resource with --dataplane-file")
    token = args.dataplane_token
    if args.dataplane_token_file:
        token_bytes = read_limited(args.dataplane_token_file, TOKEN_FILE_BYTES_MAX, "--dataplane-token-file")
        token = token_bytes.decode(errors="replace").strip()
    ca_cert = None
    if args.ca_cert_file:
        ca_cert = read_limited(args.ca_cert_file, TOKEN_FILE_BYTES_MAX, "--ca-cert-file")
    return Options(
        cp_addresses=check_addresses(args.cp_address),
        name=name,
        mesh=mesh or ("default" if args.proxy_type == "dataplane" else ""),
        proxy_type=args.proxy_type,
        resource=resource,
        ca_cert=ca_cert,
        skip_verify=args.skip_verify,
        token=token,
        work_dir=Path(args.work_dir).absolute() if args.work_dir else default_work_dir(mesh, name),
        envoy_path=args.binary_path,
        envoy_log_level=args.envoy_log_level,
        envoy_component_log_level=args.envoy_component_log_level,
        concurrency=args.concurrency,
        admin_port=_port(args.admin_port),
        drain_time_s=parse_duration(args.drain_time, "--drain-time"),
        bootstrap_timeout_s=parse_duration(args.bootstrap_timeout, "--bootstrap-timeout"),
    )


def _port(port: int | None) -> int | None:
    if port is not None and not 0 <= port <= 65535:
        raise BadInput(f"--admin-port {port}: must be between 0 and 65535")
    return port


def handle(args: argparse.Namespace) -> int:
    """Run the proxy; every failure is one line on standard error and an exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(run(options_from(args)))
    except RunnerError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
