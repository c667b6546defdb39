"""Which control planes a command talks to: the contexts of the configuration file.

The file has kumactl's shape, with one addition: a control plane may have several
addresses (`coordinates.apiServer.urls`), which are tried in turn.

    contexts: [{name: c, controlPlane: prod}]
    controlPlanes: [{name: prod, coordinates: {apiServer: {url: …, urls: […], caCertFile: …}}}]
    currentContext: c
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cp.cli.errors import CommandError

DEFAULT_ADDRESS = "http://localhost:5681"
CONFIG_FILE_BYTES_MAX = 1 << 20


class _Header(msgspec.Struct):
    key: str
    value: str


class _Server(msgspec.Struct):
    url: str | None = None
    urls: list[str] | None = None
    caCertFile: str = ""
    skipVerify: bool = False
    clientCertFile: str = ""
    clientKeyFile: str = ""
    headers: list[_Header] | None = None
    authConf: dict[str, str] | None = None


class _Coordinates(msgspec.Struct):
    apiServer: _Server | None = None


class _ControlPlane(msgspec.Struct):
    name: str
    coordinates: _Coordinates | None = None


class _Context(msgspec.Struct):
    name: str
    controlPlane: str


class _File(msgspec.Struct):
    """The form of the file, to check what a person wrote; what is not named here is left alone."""

    contexts: list[_Context] | None = None
    controlPlanes: list[_ControlPlane] | None = None
    currentContext: str | None = None


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the API answers, and how to reach and convince it."""

    name: str = "local"
    addresses: tuple[str, ...] = (DEFAULT_ADDRESS,)
    ca_cert_file: str = ""
    skip_verify: bool = False
    client_cert_file: str = ""
    client_key_file: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = ""

    def document(self) -> dict[str, Any]:
        """Its entry in the configuration file."""
        server: dict[str, Any] = {"url": self.addresses[0]}
        if len(self.addresses) > 1:
            server["urls"] = list(self.addresses)
        optional = {
            "caCertFile": self.ca_cert_file,
            "skipVerify": self.skip_verify,
            "clientCertFile": self.client_cert_file,
            "clientKeyFile": self.client_key_file,
        }
        server.update({name: value for name, value in optional.items() if value})
        if self.headers:
            server["headers"] = [{"key": key, "value": value} for key, value in self.headers.items()]
        if self.token:
            server.update(authType="tokens", authConf={"token": self.token})
        return {"name": self.name, "coordinates": {"apiServer": server}}


def parse(document: Mapping[str, Any]) -> ControlPlane:
    """The inverse of ControlPlane.document."""
    server = (document.get("coordinates") or {}).get("apiServer") or {}
    addresses = server.get("urls") or [server.get("url") or DEFAULT_ADDRESS]
    return ControlPlane(
        name=str(document.get("name", "")),
        addresses=tuple(str(address).rstrip("/") for address in addresses),
        ca_cert_file=server.get("caCertFile", ""),
        skip_verify=bool(server.get("skipVerify", False)),
        client_cert_file=server.get("clientCertFile", ""),
        client_key_file=server.get("clientKeyFile", ""),
        headers={header["key"]: header["value"] for header in server.get("headers") or []},
        token=(server.get("authConf") or {}).get("token", ""),
    )


def address_of(text: str) -> str:
    """An address as it is typed, without a slash at its end. Raises CommandError for what is no HTTP URL."""
    if not re.match(r"https?://[^/\s]", text):
        raise CommandError(f"the address {text!r} must be a URL such as http://localhost:5681")
    return text.rstrip("/")


class ContextFile:
    """The configuration file, read whole and written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document: dict[str, Any] = {"contexts": [], "controlPlanes": [], "currentContext": ""}
        if path.exists():
            self.document.update(self._read())

    def _read(self) -> dict[str, Any]:
        try:
            if self.path.stat().st_size > CONFIG_FILE_BYTES_MAX:
                raise CommandError(
                    f"{self.path}: larger than {CONFIG_FILE_BYTES_MAX} bytes; not a configuration file"
                )
            document = yaml.safe_load(self.path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise CommandError(f"cannot read the configuration {self.path}: {error}") from None
        if not isinstance(document, dict):
            raise CommandError(f"the configuration {self.path} is not a YAML mapping")
        try:
            msgspec.convert(document, _File)
        except msgspec.ValidationError as error:
            raise CommandError(f"the configuration {self.path} is not of kumactl's form: {error}") from None
        return document

    def write(self) -> None:
        """Whole or not at all. It may hold tokens, so only its owner may read it. Raises CommandError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:  # mode 0600
                yaml.safe_dump(self.document, file, sort_keys=False)
            os.replace(file.name, self.path)
        except OSError as error:
            raise CommandError(f"cannot write the configuration {self.path}: {error.strerror}") from None

    def control_planes(self) -> list[ControlPlane]:
        return [parse(document) for document in self.document["controlPlanes"] or []]

    def current(self, context: str = "") -> ControlPlane:
        """The control plane of `context`, of the current one, or the local default."""
        wanted = context or self.document.get("currentContext") or ""
        for each in self.document["contexts"] or []:
            if each.get("name") == wanted:
                for control_plane in self.control_planes():
                    if control_plane.name == each.get("controlPlane"):
                        return control_plane
        if context:
            raise CommandError(f"there is no context {context!r} in {self.path}")
        return ControlPlane()

    def add(self, control_plane: ControlPlane, *, overwrite: bool) -> None:
        """Add (or replace) a control plane with a context of its name, and switch to it."""
        if not overwrite and any(known.name == control_plane.name for known in self.control_planes()):
            raise CommandError(
                f"Control Plane with name {control_plane.name!r} already exists. "
                "Use --overwrite to replace an existing one."
            )
        self.forget(control_plane.name)
        self.document["controlPlanes"].append(control_plane.document())
        self.document["contexts"].append({"name": control_plane.name, "controlPlane": control_plane.name})
        self.document["currentContext"] = control_plane.name

    def forget(self, name: str) -> bool:
        """Remove a control plane and its contexts; whether it was there."""
        known = any(each.name == name for each in self.control_planes())
        for section, key in (("controlPlanes", "name"), ("contexts", "controlPlane")):
            self.document[section] = [each for each in self.document[section] or [] if each.get(key) != name]
        if self.document.get("currentContext") == name:
            self.document["currentContext"] = ""
        return known


def default_path() -> Path:
    return Path.home() / ".raftmesh" / "config"
