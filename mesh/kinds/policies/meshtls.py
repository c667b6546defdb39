"""MeshTLS: whether a proxy takes plain traffic, and which TLS it speaks."""

from __future__ import annotations

from typing import Literal

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Kind, Model, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import TargetRef
from mesh.reader import Reader
from mesh.resource import Resource

Version = Literal["TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13"]

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Cipher suites that may be chosen (of TLS 1.2; those of 1.3 are fixed)."""


class TlsVersion(Model):
    """Bounds of the protocol version."""

    min: Version = default("TLSAuto")
    max: Version = default("TLSAuto")


class Conf(Model):
    """Mode, versions and ciphers."""

    mode: Literal["Permissive", "Strict"] | None = None
    tls_version: TlsVersion | None = None
    tls_ciphers: tuple[str, ...] | None = None


class From(Model):
    """TLS of traffic that comes in."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class Rule(Model):
    """TLS of traffic that comes in."""

    default: Conf = msgspec.field(default_factory=Conf)


class MeshTLS(Model):
    """TLS of the selected proxies."""

    target_ref: TargetRef | None = None
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_ORDER = ("TLS10", "TLS11", "TLS12", "TLS13")
_TOP = ("Mesh", "MeshSubset", "Dataplane")


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshTLS = resource.spec
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", _TOP, inbound=True)
    yield from checks.lists(spec, has_to=False)
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", ("Mesh",))
        yield from _conf(inlet.default, f"spec.from[{index}].default", checks.top_kind(spec.target_ref))
    for index, rule in enumerate(spec.rules):
        yield from _conf(rule.default, f"spec.rules[{index}].default", checks.top_kind(spec.target_ref))


def _conf(conf: Conf, path: str, top: str) -> Errors:
    whole_mesh = top == "Mesh"
    if conf.tls_version is not None:
        if not whole_mesh:
            yield FieldError(f"{path}.tlsVersion", _MESH_ONLY)
        low, high = conf.tls_version.min, conf.tls_version.max
        if low in _ORDER and high in _ORDER and _ORDER.index(low) > _ORDER.index(high):
            text = f"min version must be lower than max. Min: {low}, max: {high}"
            yield FieldError(f"{path}.tlsVersion", text)
    if conf.tls_ciphers is not None and not whole_mesh:
        yield FieldError(f"{path}.tlsCiphers", _MESH_ONLY)
    for index, cipher in enumerate(conf.tls_ciphers or ()):
        if cipher not in CIPHERS:
            quoted = ", ".join(f'"{known}"' for known in CIPHERS)
            yield FieldError(f"{path}.tlsCiphers[{index}]", f"tls cipher must be one of [{quoted}]")


_MESH_ONLY = "can only be specified when top-level TargetRef kind is Mesh"

KIND = Kind(
    name="MeshTLS",
    scope="mesh",
    path="meshtlses",
    spec_type=MeshTLS,
    arg="meshtls",
    arg_aliases=("meshtlses",),
    singular="Mesh TLS",
    plural="Mesh TLSes",
    short="mtls",
    kds=POLICY_KDS,
    is_policy=True,
    has_from=True,
    has_rules=True,
    from_is_rules=True,
    order=300,
    validate=validate,
    warn=checks.deprecations,
    description="Whether a proxy takes plain traffic, and which TLS it speaks.",
)
