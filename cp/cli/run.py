"""`raftmesh cp run`: one replica of the control plane."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvloop

from cp.config import ConfigError, load
from cp.config_schema import Config
from cp.logs import configure
from cp.ports import StoreUnusable, Unusable, check_free, listeners
from cp.process import supervise
from cp.tls import server_files
from raftstore.certs import check_node
from raftstore.errors import StoreError
from raftstore.recover import prepare_rebuild

log = logging.getLogger(__name__)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cp` with its subcommands."""
    group = commands.add_parser("cp", help="run the control plane")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = actions.add_parser("run", help="run one replica of the control plane")
    parser.add_argument("-c", "--config", "--config-file", type=Path, help="settings in YAML")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), help="overrides log.level"
    )
    parser.add_argument(
        "--recover-from-peers",
        action="store_true",
        help="when the data is corrupt or gone, set it aside and fetch it from the other replicas",
    )
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    """Run until a signal; whatever prevents it is said in one line each on standard error."""
    environ = dict(os.environ)
    if arguments.log_level:
        environ["RAFTMESH_LOG_LEVEL"] = arguments.log_level
    try:
        loaded = load(arguments.config, environ)
        configure(loaded.config.log, "cp")
        for warning in loaded.warnings:
            log.warning("%s", warning)
        if arguments.recover_from_peers:
            _prepare_rebuild(loaded.config)
        _run(loaded.config)
    except ConfigError as error:
        for problem in error.problems:
            print(f"Error: {problem}", file=sys.stderr)
        return os.EX_CONFIG
    except StoreUnusable as error:
        print(f"Error: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except (Unusable, StoreError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Exception:
        log.exception("the control plane stopped on an error that was not foreseen")
        return os.EX_SOFTWARE
    return 0


def _prepare_rebuild(config: Config) -> None:
    """Here and not in the store, which may start several times: data is set aside once."""
    raft = config.raft
    if not raft.peers or not raft.tls_dir:
        raise Unusable("--recover-from-peers: raft.peers and raft.tlsDir must say who the others are")
    cluster = check_node(raft.tls_dir, raft.node_id).cluster_id
    log.warning("%s", prepare_rebuild(raft.data_dir, cluster_id=cluster, node_id=raft.node_id))


def _run(config: Config) -> None:
    check_free(listeners(config))
    server_files(config)  # made once here, not by each worker at the same time
    uvloop.run(_main(config))


async def _main(config: Config) -> None:
    shape = (
        "store and worker in one process" if config.embedded else f"a store and {config.workers} worker(s)"
    )
    log.info("replica %s, mode %s: %s", config.raft.node_id, config.mode, shape)
    if config.embedded:
        from cp.replica import run_embedded  # with all that a worker imports; a parent needs none of it

        await run_embedded(config)
    else:
        await supervise(config)
    log.info("replica %s stopped", config.raft.node_id)
