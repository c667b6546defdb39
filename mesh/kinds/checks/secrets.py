from __future__ import annotations

from collections.abc import Iterable

from mesh.errors import FieldError
from mesh.reader import Reader
from mesh.resource import Resource


def validate(resource: Resource, reader: Reader) -> Iterable[FieldError]:
    return ()


def warn(resource: Resource) -> Iterable[str]:
    return ()
