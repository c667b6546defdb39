"""What `raftmesh dp run` was asked to do, checked before anything is started."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from dp.errors import BadInput
from mesh.codec import decode, to_document
from mesh.errors import Invalid

DATAPLANE_FILE_BYTES_MAX = 1 << 20
TOKEN_FILE_BYTES_MAX = 64 << 10

# proxy type on the command line -> kind of the resource it registers
PROXY_KINDS = {"dataplane": "Dataplane", "ingress": "ZoneIngress", "egress": "ZoneEgress"}

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the runner needs; made by `build`, which is where the checks are."""

    cp_addresses: tuple[str, ...]
    name: str
    mesh: str
    proxy_type: str = "dataplane"
    resource: Mapping[str, Any] | None = None
    ca_cert: bytes | None = None
    skip_verify: bool = False
    token: str = ""
    work_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    envoy_path: str = ""
    envoy_log_level: str = "info"
    envoy_component_log_level: str = ""
    concurrency: int | None = None
    admin_port: int | None = None
    drain_time_s: float = 30.0
    bootstrap_timeout_s: float = 300.0
    backoff_max_s: float = 3.0
    dynamic_metadata: Mapping[str, str] = field(default_factory=dict)


def check_addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    """Control-plane URLs, e.g. `https://10.0.0.1:5678`, in the order in which they are tried."""
    if not addresses:
        raise BadInput("--cp-address: name at least one control plane, e.g. https://10.0.0.1:5678")
    for address in addresses:
        parts = urlsplit(address)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "https" or not parts.hostname or port is None or parts.path not in ("", "/"):
            raise BadInput(f"--cp-address {address!r}: must be https://HOST:PORT, e.g. https://10.0.0.1:5678")
    return tuple(address.rstrip("/") for address in addresses)


def parse_variables(pairs: Sequence[str]) -> dict[str, str]:
    """`-v name=value` pairs."""
    variables = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise BadInput(f"--dataplane-var {pair!r}: must be name=value")
        variables[name] = value
    return variables


def render_template(text: str, variables: Mapping[str, str]) -> str:
    """Replace each `{{ name }}`; a variable that was not given is an error, not an empty string."""
    missing = sorted({name for name in _VARIABLE.findall(text) if name not in variables})
    if missing:
        raise BadInput(
            f"the Dataplane uses variables that were not given: {', '.join(missing)} (use --dataplane-var)"
        )
    return _VARIABLE.sub(lambda match: variables[match.group(1)], text)


def load_resource(text: str, variables: Mapping[str, str], proxy_type: str) -> dict[str, Any]:
    """The resource of --dataplane-file, decoded and checked with the control plane's own rules.

    Checking here gives the user the error at once, and without a control plane.
    """
    try:
        document = yaml.safe_load(render_template(text, variables))
    except yaml.YAMLError as error:
        raise BadInput(f"the Dataplane is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise BadInput("the Dataplane must be one YAML mapping with `type`, `mesh`, `name` and `networking`")
    wanted = PROXY_KINDS[proxy_type]
    if document.get("type") != wanted:
        raise BadInput(f"type: must be {wanted} for --proxy-type={proxy_type}, got {document.get('type')!r}")
    try:
        return to_document(decode(document))
    except Invalid as invalid:
        reasons = "; ".join(f"{error.field}: {error.reason}" for error in invalid.errors)
        raise BadInput(f"the {wanted} is not valid: {reasons}") from None


def read_limited(path: str, limit: int, what: str) -> bytes:
    """A whole file, or a BadInput that names the option, the path and the reason."""
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BadInput(f"{what} {path}: {error.strerror}") from None
    if len(content) > limit:
        raise BadInput(f"{what} {path}: larger than {limit} bytes")
    return content


def default_work_dir(mesh: str, name: str) -> Path:
    """A private directory per proxy: Envoy's admin socket and the bootstrap (with its token) live there."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"raftmesh-dp-{os.getuid()}-{mesh or 'zone'}-{name}"
