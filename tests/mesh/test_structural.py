"""Every kind of structural fault, in the words that users know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec import Meta

from mesh import structural
from mesh.errors import FieldError
from mesh.kinds.base import Duration, Model
from mesh.limits import ERRORS_MAX
from tests.mesh import strategies


class Part(Model):
    name: Annotated[str, Meta(min_length=1, max_length=3, pattern="^[a-z]+$")]
    size: Annotated[int, Meta(ge=1, le=9)] = 1


class Whole(Model):
    parts: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=2)]
    mode: Literal["On", "Off"] | None = None
    share: Annotated[float, Meta(gt=0, lt=1)] | None = None
    port: int | str | None = None
    labels: dict[str, str] | None = None
    wait: Duration | None = None
    flag: bool = False
    free: Any = None
    code: Literal[301, 302] | None = None


GOOD: dict[str, Any] = {"parts": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"parts": []}, "parts", "in body should have at least 1 items"),
        ({"parts": [{"name": "a"}] * 3}, "parts", "in body should have at most 2 items"),
        ({"parts": {}}, "parts", 'in body must be of type array: "object"'),
        ({"parts": [1]}, "parts[0]", 'in body must be of type object: "number"'),
        ({"parts": [{}]}, "parts[0].name", "in body is required"),
        ({"parts": [{"name": "abcd"}]}, "parts[0].name", "in body should be at most 3 chars long"),
        ({"parts": [{"name": "A"}]}, "parts[0].name", "in body should match '^[a-z]+$'"),
        ({"parts": [{"name": 1.5}]}, "parts[0].name", 'in body must be of type string: "number"'),
        (
            {"parts": [{"name": "a", "size": 0}]},
            "parts[0].size",
            "in body should be greater than or equal to 1",
        ),
        (
            {"parts": [{"name": "a", "size": 10}]},
            "parts[0].size",
            "in body should be less than or equal to 9",
        ),
        (
            {"parts": [{"name": "a", "size": 1.5}]},
            "parts[0].size",
            'in body must be of type integer: "number"',
        ),
        (
            {"parts": [{"name": "a", "size": True}]},
            "parts[0].size",
            'in body must be of type integer: "boolean"',
        ),
        ({"mode": "on"}, "mode", "in body should be one of [Off On]"),
        ({"mode": 1}, "mode", 'in body must be of type string: "number"'),
        ({"code": 303}, "code", "in body should be one of [301 302]"),
        ({"share": 0}, "share", "in body should be greater than 0"),
        ({"share": 1.0}, "share", "in body should be less than 1"),
        ({"port": []}, "port", 'in body must be of type integer or string: "array"'),
        ({"labels": {"a": 1}}, "labels.a", 'in body must be of type string: "number"'),
        ({"labels": []}, "labels", 'in body must be of type object: "array"'),
        ({"wait": "5 s"}, "wait", 'in body must be a duration such as "15s" or "1h30m": "5 s"'),
        ({"wait": 5}, "wait", 'in body must be of type string: "number"'),
        ({"flag": "true"}, "flag", 'in body must be of type boolean: "string"'),
    ],
)
def test_one_fault(changes: dict[str, Any], field: str, reason: str) -> None:
    assert structural.faults(Whole, {**GOOD, **changes}, "") == [FieldError(field, reason)]
    assert structural.faults(Whole, {**GOOD, **changes}, "spec")[0].field == f"spec.{field}"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GOOD, **changes}, Whole)


def test_good_values_have_none() -> None:
    value = {
        **GOOD,
        "mode": None,
        "share": 0.5,
        "port": "http",
        "labels": {},
        "wait": "1m",
        "free": [{}],
        "code": 301,
    }
    assert structural.faults(Whole, value, "") == []


def test_the_report_is_bounded() -> None:
    value = {"parts": [{} for _ in range(ERRORS_MAX * 2)]}
    assert len(structural.faults(Whole, value, "")) == ERRORS_MAX


def test_unknown_fields_are_found_at_any_depth() -> None:
    value = {"parts": [{"name": "a", "nmae": "b"}], "free": {"x": 1}, "labels": {"x": "y"}, "prats": []}
    assert structural.unknown_fields(Whole, value, "spec") == ["spec.parts[0].nmae", "spec.prats"]


def test_reports_of_msgspec_become_field_errors() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"parts": [{"name": 5}]}, Whole)
    error = structural.from_msgspec(caught.value, "spec")
    assert error == FieldError("spec.parts[0].name", "Expected `str`, got `int`")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.documents)
def test_what_decodes_has_no_faults(document: dict[str, Any]) -> None:
    from mesh.registry import KINDS

    kind = KINDS[document["type"]]
    value = document["spec"] if kind.wrapped else document
    assert structural.faults(kind.spec_type, value, "") == []
