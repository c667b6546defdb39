"""Every message about a HostnameGenerator."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.dnsnames import NOT_A_SUBDOMAIN
from tests.mesh.checks.documents import Edit, edited, faults, only

GOOD: dict[str, Any] = {
    "type": "HostnameGenerator",
    "name": "local",
    "spec": {
        "selector": {"meshService": {"matchLabels": {"a": "b"}}},
        "template": '{{ .DisplayName }}.{{ label "team" }}.mesh.local',
    },
}
ONE = "exact one selector (meshService, meshExternalService) must be defined"


def invalid(rendered: str) -> str:
    return f'template renders to "{rendered}" which is not a valid DNS name: {NOT_A_SUBDOMAIN}'


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ("", "must not be empty"),
        ("{{ .Name[ }}.mesh", "couldn't parse template: template: :1: bad character U+005B '['"),
        ("{{ .Name }}.MESH", invalid("name.MESH")),
        (".{{ .Name }}.mesh", invalid(".name.mesh")),
        ("{{ .Name }}..mesh", invalid("name..mesh")),
        ("{{ .Name }}_svc.mesh", invalid("name_svc.mesh")),
    ],
)
def test_templates(edit: str, reason: str) -> None:
    assert faults(edited(GOOD, ("spec.template", edit))) == only("spec.template", reason)


@pytest.mark.parametrize(
    "template", ["{{ .Name }}.{{ .Zone }}.{{.Mesh}}.{{ .Namespace }}.local", "static.local"]
)
def test_good_templates(template: str) -> None:
    assert faults(edited(GOOD, ("spec.template", template))) == []


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("spec.selector", {}), "spec.selector", ONE),
        (("spec.selector.meshExternalService", {}), "spec.selector", ONE),
        (("spec.extension", {"type": ""}), "spec.extension.type", "must not be empty"),
    ],
)
def test_one_fault(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(GOOD, edit)) == only(field, reason)
