"""Every message about a Mesh."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mesh.checks.documents import Edit, edited, faults, only

GOOD: dict[str, Any] = {
    "type": "Mesh",
    "name": "mesh-1",
    "mtls": {
        "enabledBackend": "backend-1",
        "backends": [{"name": "backend-1", "type": "builtin", "dpCert": {"rotation": {"expiration": "1d"}}}],
    },
    "logging": {
        "backends": [
            {"name": "file-1", "type": "file", "conf": {"path": "/path"}},
            {"name": "tcp-1", "type": "tcp", "conf": {"address": "kibana:1234"}},
        ],
        "defaultBackend": "tcp-1",
    },
    "tracing": {
        "backends": [
            {
                "name": "zipkin-us",
                "type": "zipkin",
                "sampling": 80.0,
                "conf": {"url": "http://zipkin.local:9411/v2/spans", "apiVersion": "httpJson"},
            }
        ],
        "defaultBackend": "zipkin-us",
    },
    "metrics": {
        "enabledBackend": "p-1",
        "backends": [{"name": "p-1", "type": "prometheus", "conf": {"port": 1}}],
    },
    "constraints": {"dataplaneProxy": {"requirements": [{"tags": {"a": "*"}}], "restrictions": []}},
    "routing": {"zoneEgress": True},
}
LOG, TRACE, METRIC = "logging.backends[0]", "tracing.backends[0]", "metrics.backends[0]"
REQUIREMENT = "constraints.dataplaneProxy.requirements[0].tags"
TAG_NAME = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
TAG_VALUE = "tag value must consist of alphanumeric characters, dots, dashes, slashes and underscores"
RULES = "constraints.dataplaneProxy.requirements.0.tags"
USED = "name is already used for another backend"


def test_a_good_one() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("edit", "field", "reason"),
    [
        (("name", "a" * 64), "name", "cannot be longer than 63 characters"),
        (
            ("mtls.enabledBackend", "x"),
            "mtls.enabledBackend",
            "has to be set to one of the backends in the mesh",
        ),
        (
            ("mtls.backends.0.dpCert.rotation.expiration", "xyz"),
            "mtls.dpcert.rotation.expiration",
            "has to be a valid format",
        ),
        (
            ("mtls.backends.0.type", "x"),
            "mtls.backends[0].type",
            "could not find installed plugin for this type",
        ),
        (("mtls.enabledBackend", ""), "mtls", "has to be set when zoneEgress enabled"),
        (("logging.backends.0.name", ""), f"{LOG}.name", "cannot be empty"),
        (("logging.backends.0.name", "tcp-1"), "logging.backends[1].name", f'"tcp-1" {USED}'),
        (("logging.backends.0.conf", {}), f"{LOG}.config.path", "cannot be empty"),
        (("logging.backends.1.conf", {}), "logging.backends[1].config.address", "cannot be empty"),
        (
            ("logging.backends.1.conf.address", "wrong-format:234:234"),
            "logging.backends[1].config.address",
            "has to be in format of HOST:PORT",
        ),
        (
            ("logging.backends.0.type", "x"),
            f"{LOG}.type",
            'unknown backend type. Available backends: "tcp", "file"',
        ),
        (
            ("logging.defaultBackend", "x"),
            "logging.defaultBackend",
            "has to be set to one of the logging backend in mesh",
        ),
        (("tracing.backends.0.sampling", 100.1), f"{TRACE}.sampling", "has to be in [0.0 - 100.0] range"),
        (("tracing.backends.0.conf", {}), f"{TRACE}.config.url", "cannot be empty"),
        (("tracing.backends.0.conf.url", "wrong-url"), f"{TRACE}.config.url", "invalid URL"),
        (("tracing.backends.0.conf.url", "http://[a"), f"{TRACE}.config.url", "invalid URL"),
        (
            ("tracing.backends.0.conf.url", "http://zipkin/v1"),
            f"{TRACE}.config.url",
            "port has to be explicitly specified",
        ),
        (
            ("tracing.backends.0.conf.apiVersion", "invalid"),
            f"{TRACE}.config.apiVersion",
            "has invalid value. Allowed values: httpJsonV1, httpJson, httpProto",
        ),
        (
            ("tracing.backends.0.type", "x"),
            f"{TRACE}.type",
            'unknown backend type. Available backends: "zipkin", "datadog"',
        ),
        (
            ("tracing.defaultBackend", "x"),
            "tracing.defaultBackend",
            "has to be set to one of the tracing backend in mesh",
        ),
        (
            ("metrics.enabledBackend", "x"),
            "metrics.enabledBackend",
            "has to be set to one of the backends in the mesh",
        ),
        (
            ("metrics.backends.0.type", "x"),
            f"{METRIC}.type",
            'unknown backend type. Available backends: "prometheus"',
        ),
        (
            ("metrics.backends.0.conf.aggregate", [{"name": "app"}, {"name": "app"}]),
            f"{METRIC}.conf.aggregate[1].name",
            "duplicate entry: app, values have to be unique",
        ),
        (
            ("metrics.backends.0.conf", {"skipMTLS": False, "tls": {"mode": "disabled"}}),
            f"{METRIC}.conf",
            "skipMTLS and tls configuration cannot be defined together",
        ),
        ((RULES, {}), REQUIREMENT, "must have at least one tag"),
        ((RULES, {"": "a"}), REQUIREMENT, "tag name must be non-empty"),
        ((RULES, {"a": ""}), f'{REQUIREMENT}["a"]', "tag value must be non-empty"),
        ((RULES, {"!@#$": "a"}), f'{REQUIREMENT}["!@#$"]', TAG_NAME),
        ((RULES, {"a": "!@#$"}), f'{REQUIREMENT}["a"]', f'{TAG_VALUE} or be "*"'),
    ],
)
def test_one_fault(edit: Edit, field: str, reason: str) -> None:
    assert faults(edited(GOOD, edit)) == only(field, reason)


def test_one_backend_of_a_name() -> None:
    twice = edited(GOOD, ("mtls.backends.1", {"name": "backend-1", "type": "builtin"}))
    assert faults(twice) == [
        ("mtls.backends", "cannot have more than 1 backends"),
        ("mtls.backends[1].name", f'"backend-1" {USED}'),
    ]


def test_a_provided_authority_needs_certificate_and_key() -> None:
    provided = edited(
        GOOD, ("mtls.backends.0.type", "provided"), ("mtls.backends.0.conf", {"cert": {"secret": "c"}})
    )
    assert faults(provided) == only("mtls.backends[0].conf.key", "has to be defined")


def test_the_authority_does_not_change_while_it_is_in_use() -> None:
    other = edited(GOOD, ("mtls.enabledBackend", "b"), ("mtls.backends.0.name", "b"))
    message = "Changing CA when mTLS is enabled is forbidden. Disable mTLS first and then change the CA"
    assert faults(other, GOOD) == only("mtls.enabledBackend", message)
    off = edited(GOOD, ("mtls.enabledBackend", ""), ("routing", {}))
    assert faults(off, GOOD) == []
    assert faults(other, off) == []


@pytest.mark.parametrize(
    ("conf", "field"),
    [
        ({"port": 8126}, "address"),
        ({"address": "dd", "port": 0}, "port"),
        ({"address": "dd", "port": "x"}, "port"),
    ],
)
def test_datadog(conf: dict[str, Any], field: str) -> None:
    edits = (("tracing.backends.0.type", "datadog"), ("tracing.backends.0.conf", conf))
    assert [error.field for error in faults(edited(GOOD, *edits))] == [f"{TRACE}.config.{field}"]
