"""How a kind is declared: once, as typed structs, from which everything else is derived.

Declaring a kind
----------------
1. Write its spec as `Model` structs.  Python names are snake_case, documents are camelCase (a field
   whose document name is no plain camel case uses `msgspec.field(name="spiffeID")`).

   * an optional field is `X | None = None`: absent stays absent when written back;
   * a required field has no default, and stands before those that have one; its absence is
     reported as "in body is required";
   * a field with a *schema default* is `x: T = default("tcp")`: the value is filled in when the
     object around it is there, and is always written back, as Kuma does;
   * in the old flat kinds the zero value of a type is "absent", and never written: `port: UInt32 = 0`,
     `state: Literal["Ready", "NotReady"] = "Ready"`;
   * a list is `tuple[X, ...]`: `= ()` if an empty list means the same as none, else `| None = None`;
   * bounds go into the type: `Annotated[int, Meta(ge=1, le=65535)]`, enumerations are `Literal[...]`;
   * free-form JSON is `Any`; `Duration`, `Port`, `IntOrString` are below.

   Structs decode in a few microseconds; only when that fails `mesh.structural` walks the document
   again and reports every fault in Kuma's words.  A docstring on a struct becomes its description
   in the generated schema and reference.

2. Write what types cannot say as a generator `validate(resource, reader)` that yields `FieldError`s
   with full paths (`spec.to[0]...`), and deprecations as `warn(resource)` that yields sentences.

3. Declare `KIND = Kind(name="MeshTimeout", ...)` and add it to the tuple of its package
   (`mesh/kinds/policies/__init__.py: KINDS`, or `mesh/kinds/__init__.py: KINDS`).  Nothing is
   registered by being imported: `mesh.registry` reads those tuples and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from mesh.errors import FieldError
from mesh.reader import Reader
from mesh.resource import Resource


def default(value: Any) -> Any:
    """A schema default: filled in when absent, and always written back.

    (msgspec omits a field that equals its plain default; one made by a factory it keeps.)
    """
    return msgspec.field(default_factory=_Constant(value))


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def __call__(self) -> Any:
        return self.value


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field, default))
class _ModelMeta(msgspec.StructMeta):
    """Tells type checkers that what inherits from Model is frozen too."""


class Model(
    msgspec.Struct,
    metaclass=_ModelMeta,
    frozen=True,
    omit_defaults=True,
    rename="camel",
    gc=False,
):
    """Base of every declared struct.  Values are trees, so the garbage collector need not see them.

    Unknown fields are ignored, as Kuma ignores them; `mesh.codec.unknown_fields` names them.
    """


Duration = Annotated[
    str,
    Meta(
        pattern=r"^[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)$",
        extra={"format": "duration"},
    ),
]
"""A Go duration: "15s", "1h30m", "250ms", "0"."""

Port = Annotated[int, Meta(ge=1, le=65535)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0, le=2**64 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
IntOrString = int | str
StringInt = Annotated[str, Meta(pattern=r"^[0-9]*$")]
"""A 64-bit counter, which JSON carries as a string lest readers round it; "" is 0."""
Labels = dict[str, str]
Tags = dict[str, str]


class Kds(Flag):
    """Where a kind is written and to where it is copied."""

    NONE = 0
    GLOBAL_TO_ZONES = auto()
    ZONE_TO_GLOBAL = auto()
    TO_OTHER_ZONES = auto()  # Global re-distributes what a zone sent (policies: only producer's)
    WRITABLE_ON_GLOBAL = auto()  # not copied, but lives there
    WRITABLE_ON_ZONE = auto()


Scope = Literal["global", "mesh"]
Validator = Callable[[Resource, Reader], Iterable[FieldError]]
Warner = Callable[[Resource], Iterable[str]]


def accepts_all(resource: Resource, reader: Reader) -> Iterable[FieldError]:
    return ()


def warns_of_nothing(resource: Resource) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Everything the program knows of a kind.

    path: the URL segment ("meshtimeouts"), "" when the kind has no HTTP path.
    singular, plural: display names; arg: what `get <arg>` calls it, "" when there is none.
    short: used in KRIs ("mt"), "" when the kind has none.
    wrapped: the spec sits under `spec:` (and status under `status:`), else at the top level.
    from_is_rules: `from` means what `rules` means: its targetRef can only be the whole mesh.
    order: position among policies in derivation; None for other kinds.
    """

    name: str
    scope: Scope
    path: str
    spec_type: type[Model]
    status_type: type[Model] | None = None
    path_aliases: tuple[str, ...] = ()
    arg: str = ""
    arg_aliases: tuple[str, ...] = ()
    singular: str = ""
    plural: str = ""
    short: str = ""
    wrapped: bool = True
    read_only: bool = False
    admin_only: bool = False
    kds: Kds = Kds.NONE
    hashed_name: bool = True
    is_policy: bool = False
    has_to: bool = False
    has_from: bool = False
    has_rules: bool = False
    from_is_rules: bool = False
    order: int | None = None
    is_destination: bool = False
    has_insight: str = ""
    validate: Validator = accepts_all
    warn: Warner = warns_of_nothing
    description: str = ""

    @property
    def writable_on_global(self) -> bool:
        return bool(self.kds & (Kds.GLOBAL_TO_ZONES | Kds.WRITABLE_ON_GLOBAL))

    @property
    def writable_on_zone(self) -> bool:
        """Whether a *federated* zone may write it; a zone of its own writes everything."""
        return bool(self.kds & (Kds.ZONE_TO_GLOBAL | Kds.WRITABLE_ON_ZONE))


POLICY_KDS = Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL | Kds.TO_OTHER_ZONES
