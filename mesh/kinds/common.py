"""Structs that several kinds share."""

from __future__ import annotations

from typing import Any, Literal

from mesh.kinds.base import Labels, Model


class DataSource(Model):
    """Where bytes come from: a Secret of the mesh, a file of the control plane, or the document."""

    secret: str | None = None
    file: str | None = None
    inline: str | None = None
    inline_string: str | None = None


class EnvoyAdmin(Model):
    port: int | None = None


class LabelSelector(Model):
    """Selects what carries all of the labels; an empty mapping selects everything."""

    match_labels: Labels | None = None


class Extension(Model):
    type: str
    config: Any = None


class Condition(Model):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


class HostnameGeneratorRef(Model):
    core_name: str


class Address(Model):
    hostname: str | None = None
    origin: str | None = None
    hostname_generator_ref: HostnameGeneratorRef | None = None


class HostnameGeneratorStatus(Model):
    hostname_generator_ref: HostnameGeneratorRef
    conditions: tuple[Condition, ...] = ()


class Vip(Model):
    ip: str | None = None


class EmptySpec(Model):
    """A kind that has a status and no spec."""
