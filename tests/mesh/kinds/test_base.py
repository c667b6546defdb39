"""The rules by which kinds are declared."""

from __future__ import annotations

import msgspec
import pytest

from mesh.kinds.base import Duration, Kds, Kind, Model, StringInt, default


class Sample(Model):
    """A sample."""

    max_size: int
    unit: str = default("s")
    note: str | None = None
    count: StringInt = ""
    wait: Duration | None = None
    parts: tuple[int, ...] = ()


def test_names_in_documents_are_camel_case() -> None:
    assert msgspec.to_builtins(Sample(max_size=1)) == {"maxSize": 1, "unit": "s"}


def test_schema_defaults_are_written_and_absent_stays_absent() -> None:
    sample = msgspec.convert({"maxSize": 1, "unit": "s", "note": "x"}, Sample)
    assert msgspec.to_builtins(sample) == {"maxSize": 1, "unit": "s", "note": "x"}


def test_models_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Sample(max_size=1).unit = "m"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["0", "1s", "1.5h", "1h30m", "100us", "-1s", ".5s"])
def test_durations(text: str) -> None:
    assert msgspec.convert({"maxSize": 1, "wait": text}, Sample).wait == text


@pytest.mark.parametrize(("field", "value"), [("wait", "1"), ("wait", "1d"), ("wait", ""), ("count", "1.5")])
def test_bad_patterns(field: str, value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"maxSize": 1, field: value}, Sample)


@pytest.mark.parametrize(
    ("kds", "on_global", "on_zone"),
    [
        (Kds.NONE, False, False),
        (Kds.GLOBAL_TO_ZONES, True, False),
        (Kds.ZONE_TO_GLOBAL | Kds.TO_OTHER_ZONES, False, True),
        (Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE, True, True),
    ],
)
def test_where_a_kind_is_written(kds: Kds, on_global: bool, on_zone: bool) -> None:
    kind = Kind(name="Sample", scope="mesh", path="samples", spec_type=Sample, kds=kds)
    assert (kind.writable_on_global, kind.writable_on_zone) == (on_global, on_zone)
    assert not list(kind.warn(None))  # type: ignore[arg-type]
    assert not list(kind.validate(None, None))  # type: ignore[arg-type]
