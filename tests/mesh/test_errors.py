"""The JSON of an error answer."""

from __future__ import annotations

from mesh.errors import FieldError, Invalid, invalid_problem, problem


def test_plain_problem() -> None:
    assert problem(404, "Could not retrieve a resource", "Not found") == {
        "type": "/std-errors",
        "status": 404,
        "title": "Could not retrieve a resource",
        "detail": "Not found",
        "details": "Not found",
    }


def test_faults_are_told_twice_for_old_clients() -> None:
    body = invalid_problem("Could not create a resource", [FieldError("spec.a", "is wrong")])
    assert body["invalid_parameters"] == [{"field": "spec.a", "reason": "is wrong"}]
    assert body["causes"] == [{"field": "spec.a", "message": "is wrong"}]
    assert list(body) == ["type", "status", "title", "detail", "invalid_parameters", "details", "causes"]
    assert body["detail"] == body["details"] == "Resource is not valid"


def test_instance_is_there_when_there_is_a_trace() -> None:
    assert problem(500, "t", "d", instance="abc")["instance"] == "abc"


def test_text_of_invalid() -> None:
    assert str(Invalid([FieldError("a", "is wrong"), FieldError("", "bad")])) == "a: is wrong; bad"
