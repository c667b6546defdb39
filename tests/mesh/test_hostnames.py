"""Host names of services, in a zone and as Global sees them."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.hostnames import Hostname, hostnames
from mesh.resource import Resource
from mesh.templates import TemplateError
from mesh.view import View

ZONE_LABELS = {"kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/display-name": "web"}


def service(**labels: str) -> Resource:
    spec = {"selector": {"dataplaneTags": {"app": "web"}}, "ports": [{"port": 80}]}
    return decode({"type": "MeshService", "name": "web-hash", "labels": ZONE_LABELS | labels, "spec": spec})


def generator(name: str, template: str, labels: dict[str, str], member: str = "meshService") -> Resource:
    spec: dict[str, Any] = {"template": template, "selector": {member: {"matchLabels": labels}}}
    return decode({"type": "HostnameGenerator", "name": name, "spec": spec})


def found(given: Resource, *generators: Resource, on_global: bool = False) -> list[Hostname]:
    return hostnames(View.of([given, *generators]), given, on_global=on_global)


def test_each_generator_that_selects_gives_a_name() -> None:
    one = generator("one", "{{ .DisplayName }}.svc.{{ .Zone }}.local", {})
    two = generator("two", "{{ .Name }}.{{ .Mesh }}", {"app": "web"})
    other = generator("other", "never", {"app": "db"})
    assert found(service(app="web"), one, two, other) == [
        Hostname("web-hash.default", ("east",)),
        Hostname("web.svc.east.local", ("east",)),
    ]


def test_generators_of_other_kinds_do_not_count() -> None:
    assert found(service(), generator("one", "{{ .Name }}", {}, "meshExternalService")) == []


def test_a_zone_sees_the_origin_as_it_is_and_global_both() -> None:
    local = generator("local", "{{ .DisplayName }}.local", {"kuma.io/origin": "zone"})
    synced = generator("synced", "{{ .DisplayName }}.synced", {"kuma.io/origin": "global"})
    assert [one.hostname for one in found(service(), local, synced)] == ["web.local"]
    both = found(service(), local, synced, on_global=True)
    assert [one.hostname for one in both] == ["web.local", "web.synced"]


def test_equal_names_are_one() -> None:
    twice = [generator(name, "{{ .DisplayName }}", {}) for name in ("a", "b")]
    assert found(service(), *twice) == [Hostname("web", ("east",))]


def test_a_label_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TemplateError, match="team"):
        found(service(), generator("one", '{{ label "team" }}', {}))
