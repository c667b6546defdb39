"""Reading the configuration: defaults, then a YAML file, then the environment.

A wrong setting must cost its author one reading of one message. So all problems are
collected before anything is said, each names the setting by its path, the value it was
given, where that came from and what is allowed; an unknown setting names the nearest one
that exists.

Environment: `apiServer.http.port` is `RAFTMESH_API_SERVER_HTTP_PORT`, and Kuma's spelling
`KUMA_API_SERVER_HTTP_PORT` is understood too (ours wins). Lists are comma-separated.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import msgspec
import yaml

from cp.config_schema import KUMA_ONLY, Config, Section
from cp.duration import format_duration, parse_duration

PREFIXES = ("KUMA_", "RAFTMESH_")  # later ones win
FILE_BYTES_MAX = 1 << 20  # a configuration is a page or two; a megabyte is a mistake
SPELLINGS = {("mode", "standalone"): "zone"}  # Kuma's older word for a zone without a global


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds one line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting: its path (`apiServer.http.port`), environment name and declared type."""

    path: str
    env: str
    type: Any
    default: Any
    duration: bool
    secret: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    config: Config
    warnings: tuple[str, ...]


def load(file: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read the settings. Raises ConfigError with every problem at once."""
    problems: list[str] = []
    warnings: list[str] = []
    given: dict[str, tuple[Any, str]] = {}
    if file is not None:
        _flatten(_read_yaml(file), "", given, str(file), problems, warnings)
    _from_environment(environ, given, problems)
    values = {leaf.path: leaf.default for leaf in LEAVES.values()}
    for path, (value, source) in given.items():
        try:
            values[path] = _convert(LEAVES[path], value)
        except ValueError as error:
            problems.append(f"{path}: {error} (from {source})")
    if not problems:
        config = cast(Config, _build(Config(), "", values))
        problems += check(config)
    if problems:
        raise ConfigError(problems)
    return Loaded(config, tuple(warnings))


def redacted(config: Config) -> dict[str, Any]:
    """The effective settings as `/config` shows them: camelCase, durations as text, no secrets."""
    tree: dict[str, Any] = {}
    for leaf in LEAVES.values():
        value: Any = config
        node = tree
        parts = leaf.path.split(".")
        for part in parts[:-1]:
            value = getattr(value, _snake(part))
            node = node.setdefault(part, {})
        value = getattr(value, _snake(parts[-1]))
        if leaf.duration:
            value = format_duration(value)
        elif leaf.secret and value:
            value = "*****"
        node[parts[-1]] = msgspec.to_builtins(value)
    return tree


def check(config: Config) -> list[str]:
    """What no single setting can tell: combinations that cannot work."""
    problems = []
    for section, cert, key in (
        ("general", config.general.tls_cert_file, config.general.tls_key_file),
        ("apiServer.https", config.api_server.https.tls_cert_file, config.api_server.https.tls_key_file),
        ("dpServer", config.dp_server.tls_cert_file, config.dp_server.tls_key_file),
    ):
        if bool(cert) != bool(key):
            problems.append(f"{section}.tlsCertFile and {section}.tlsKeyFile must be given together")
        problems += [f"{section}: no such file: {f}" for f in (cert, key) if f and not Path(f).is_file()]
    if not _ADDRESS.match(config.raft.listen):
        problems.append(f"raft.listen: {config.raft.listen!r} is not HOST:PORT")
    for peer in config.raft.peers:
        node, _, address = peer.partition("=")
        if not node or not _ADDRESS.match(address):
            problems.append(f"raft.peers: {peer!r} is not ID=HOST:PORT, e.g. cp-2=10.0.0.2:5683")
    if config.raft.peers and not config.raft.tls_dir:
        problems.append("raft.tlsDir: replicas speak mutual TLS; make certificates with `raftmesh cert`")
    if config.raft.embedded == "always" and config.workers > 1:
        problems.append("workers: an embedded store serves one worker; set raft.embedded to never or auto")
    base = config.api_server.base_path
    if not base.startswith("/"):
        problems.append(f"apiServer.basePath: {base!r} must begin with /")
    for domain in config.api_server.cors_allowed_domains:
        try:
            re.compile(domain)
        except re.error as error:
            problems.append(f"apiServer.corsAllowedDomains: {domain!r} is no regular expression: {error}")
    address = config.multizone.zone.global_address
    if address and not address.startswith(("grpcs://", "grpc://")):
        problems.append(f"multizone.zone.globalAddress: {address!r} must begin with grpcs:// or grpc://")
    if config.mode == "zone" and not _NAME.match(config.multizone.zone.name):
        problems.append(
            f"multizone.zone.name: {config.multizone.zone.name!r} must consist of lower case "
            "alphanumeric characters or '-', at most 63 of them"
        )
    return problems


_ADDRESS = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[^\[\]:\s]+):\d{1,5}$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


# --- sources ------------------------------------------------------------------------------


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError([f"{file}: larger than {FILE_BYTES_MAX} bytes; is this the right file?"])
        tree = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8 text (byte {error.start})"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([f"{file}: not YAML: {' '.join(str(error).split())}"]) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{file}: expected settings as `name: value`, found {_kind(tree)}"])
    return tree


def _flatten(
    tree: dict[Any, Any],
    prefix: str,
    given: dict[str, tuple[Any, str]],
    source: str,
    problems: list[str],
    warnings: list[str],
) -> None:
    """Sort what a file says into leaves; what is no setting becomes a problem or a warning."""
    for name, value in tree.items():
        path = f"{prefix}{name}"
        ignored = next((k for k in KUMA_ONLY if path == k or path.startswith(k + ".")), None)
        if path in LEAVES:
            given[path] = (value, source)
        elif ignored is not None:
            warnings.append(f"{path}: has no effect: {KUMA_ONLY[ignored]}")
        elif path in SECTIONS:
            if isinstance(value, dict):
                _flatten(value, path + ".", given, source, problems, warnings)
            elif value is not None:
                problems.append(
                    f"{path}: expected a section of settings, found {_kind(value)} (from {source})"
                )
        else:
            problems.append(f"{path}: no such setting{_nearest(path, (*LEAVES, *SECTIONS))} (from {source})")


def _from_environment(
    environ: Mapping[str, str], given: dict[str, tuple[Any, str]], problems: list[str]
) -> None:
    by_env = {leaf.env: leaf for leaf in LEAVES.values()}
    tops = tuple("RAFTMESH_" + _screaming(path) + "_" for path in SECTIONS if "." not in path)
    for prefix in PREFIXES:
        for variable in sorted(environ):
            if not variable.startswith(prefix):
                continue
            leaf = by_env.get(variable.removeprefix(prefix))
            if leaf is not None:
                given[leaf.path] = (environ[variable], variable)
            elif variable.startswith(tops):
                names = [PREFIXES[-1] + env for env in by_env]
                problems.append(f"{variable}: no such setting{_nearest(variable, names)}")


def _nearest(name: str, known: typing.Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not close:  # the right name in the wrong place
        last = name.rpartition(".")[2].lower()
        close = [k for k in known if k.rpartition(".")[2].lower() == last][:1]
    return f"; did you mean {close[0]}?" if close else ""


# --- one value ----------------------------------------------------------------------------


def _convert(leaf: Leaf, value: Any) -> Any:
    """`value` as the leaf's type. Raises ValueError with the value and what is allowed."""
    value = SPELLINGS.get((leaf.path, str(value)), value)
    try:
        if leaf.duration and isinstance(value, str):
            value = parse_duration(value)
        if leaf.type == tuple[str, ...] and isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str) and get_origin(leaf.type) is tuple and leaf.type != tuple[str, ...]:
            value = yaml.safe_load(value)
        if isinstance(value, bool) and leaf.type is not bool:
            raise ValueError("expected no boolean")
        return msgspec.convert(value, leaf.type, strict=False)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        shown = "*****" if leaf.secret else repr(value)[:80]
        raise ValueError(f"{shown} is not allowed; {_allowed(leaf, error)}") from error


def _allowed(leaf: Leaf, error: Exception) -> str:
    kind, metas = _unwrap(leaf.type)
    if get_origin(kind) is Literal:
        return "allowed: " + ", ".join(repr(v) if v == "" else str(v) for v in get_args(kind))
    if kind is bool:
        return "allowed: true, false"
    low = next((m.ge for m in metas if m.ge is not None), None)
    high = next((m.le for m in metas if m.le is not None), None)
    if leaf.duration:
        bounds = f" from {format_duration(low or 0)}" + (f" to {format_duration(high)}" if high else "")
        return f"allowed: a duration{bounds}, such as 500ms, 10s, 5m or 72h"
    if kind is int:
        return f"allowed: a whole number from {low} to {high}"
    if kind is str:
        return "allowed: a text"
    if kind == tuple[str, ...]:
        return "allowed: a list of texts"
    return str(error)


def _unwrap(declared: Any) -> tuple[Any, list[msgspec.Meta]]:
    if get_origin(declared) is Annotated:
        kind, *metas = get_args(declared)
        return kind, [m for m in metas if isinstance(m, msgspec.Meta)]
    return declared, []


def _kind(value: Any) -> str:
    names = {dict: "a section", list: "a list", str: "a text", bool: "a boolean"}
    return names.get(type(value), f"{type(value).__name__} {value!r}"[:80])


# --- the declaration, walked --------------------------------------------------------------


def _snake(name: str) -> str:
    text = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    return "global_" if text == "global" else text


def _screaming(path: str) -> str:
    return "_".join(_snake(part).strip("_").upper() for part in path.split("."))


def _leaves(section: Section, prefix: str = "") -> Iterator[Leaf]:
    """The settings below a section, with the defaults that this instance of it holds."""
    hints = typing.get_type_hints(type(section), include_extras=True)
    for field in msgspec.structs.fields(section):
        path, declared = f"{prefix}{field.encode_name}", hints[field.name]
        value = getattr(section, field.name)
        if isinstance(value, Section):
            yield from _leaves(value, path + ".")
        else:
            yield _leaf(path, declared, value)


def _leaf(path: str, declared: Any, default: Any) -> Leaf:
    extra = {k: v for meta in _unwrap(declared)[1] for k, v in (meta.extra or {}).items()}
    return Leaf(
        path, _screaming(path), declared, default, bool(extra.get("duration")), bool(extra.get("secret"))
    )


def _build(template: Section, prefix: str, values: dict[str, Any]) -> Section:
    """A section of the template's type that holds `values`, keyed by path."""
    arguments = {}
    for field in msgspec.structs.fields(template):
        path, default = f"{prefix}{field.encode_name}", getattr(template, field.name)
        nested = isinstance(default, Section)
        arguments[field.name] = _build(default, path + ".", values) if nested else values[path]
    return type(template)(**arguments)


LEAVES: dict[str, Leaf] = {leaf.path: leaf for leaf in _leaves(Config())}
SECTIONS: frozenset[str] = frozenset(
    path[:cut] for path in LEAVES for cut, letter in enumerate(path) if letter == "."
)
