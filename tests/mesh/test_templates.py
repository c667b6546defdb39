"""The part of Go's templates that names are written in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.templates import TemplateError, parse

FIELDS = {"Name": "web", "Zone": "z"}
LABELS = {"team": "a", "k8s.kuma.io/x": "y"}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{ .Name }}.{{.Zone}}.local", "web.z.local"),
        ('{{ label "team" }}-{{ label "k8s.kuma.io/x" }}', "a-y"),
        ("{{ label `team` }}", "a"),
        ("{{- .Name -}}", "web"),
        ("} {", "} {"),
    ],
)
def test_rendering(text: str, rendered: str) -> None:
    assert parse(text).render(FIELDS, LABELS) == rendered


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ .Name[ }}", "template: :1: bad character U+005B '['"),
        ("a\n{{ .Name[ }}", "template: :2: bad character U+005B '['"),
        ("{{ .Name", "template: :1: unclosed action"),
        ("{{ }}", "template: :1: missing value for command"),
        ("{{ mesh }}", 'template: :1: function "mesh" not defined'),
    ],
)
def test_what_cannot_be_parsed(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_what_is_not_there() -> None:
    with pytest.raises(TemplateError, match=r"there is no field \.Mesh; there are \.Name, \.Zone"):
        parse("{{ .Mesh }}").render(FIELDS, LABELS)
    with pytest.raises(TemplateError, match='label "x" is not set'):
        parse('{{ label "x" }}').render(FIELDS, LABELS)


@given(st.text('{}. -`"abcN\n', max_size=20))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parse(text).render(FIELDS, LABELS)
    except TemplateError as error:
        assert str(error)
