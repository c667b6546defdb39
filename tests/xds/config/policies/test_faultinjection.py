"""MeshFaultInjection: by identity in a matcher, by tags through a header that clients send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, HTTP_OUT, Sidecar, rules
from tests.xds.config.worlds import policy
from xds.config.policies.faultinjection import kilobits, tags_header

FAULTS = {
    "http": [
        {"abort": {"httpStatus": 503, "percentage": "2.5"}},
        {"delay": {"value": "1s", "percentage": 50}},
        {"responseBandwidth": {"limit": "50Mbps", "percentage": "0.001"}},
    ]
}
SPIFFE = [{"spiffeID": {"type": "Prefix", "value": "spiffe://default/"}}]
KRI = "kri_mfi_default___p_"


def by_tags() -> dict[str, object]:
    target = {"kind": "MeshSubset", "tags": {"team": "b.c"}}
    return policy("MeshFaultInjection", "p", from_=[{"targetRef": target, "default": FAULTS}])


def test_by_identity_each_fault_is_a_filter_that_others_skip() -> None:
    sidecar = Sidecar(rules("MeshFaultInjection", FAULTS, SPIFFE))
    found = [f for f in sidecar.manager(HTTP_IN)["httpFilters"] if f["name"] == KRI]
    faults = [f["typedConfig"]["extensionConfig"]["typedConfig"] for f in found]
    assert faults[0]["abort"]["percentage"] == {"numerator": 250, "denominator": "TEN_THOUSAND"}
    assert faults[1]["delay"] == {"fixedDelay": "1s", "percentage": {"numerator": 50}}
    assert faults[2]["responseRateLimit"]["fixedLimit"] == {"limitKbps": "50000"}
    assert faults[2]["responseRateLimit"]["percentage"] == {"numerator": 10, "denominator": "MILLION"}
    matcher = found[0]["typedConfig"]["xdsMatcher"]["matcherList"]["matchers"][0]
    assert "notMatcher" in matcher["predicate"]


def test_for_everybody_there_is_no_matcher() -> None:
    sidecar = Sidecar(rules("MeshFaultInjection", FAULTS))
    assert sidecar.http_filter(HTTP_IN, KRI)["typedConfig"]["@type"].endswith("HTTPFault")


def test_by_tags_clients_tell_theirs() -> None:
    sidecar = Sidecar(by_tags())
    (header,) = sidecar.http_filter(HTTP_IN, "fault")["typedConfig"]["headers"]
    assert header["stringMatch"]["safeRegex"]["regex"] == r".*&team=[^&]*b\.c[,&].*"
    (sent,) = sidecar.manager(HTTP_OUT)["routeConfig"]["requestHeadersToAdd"]
    assert sent["header"]["key"] == "x-kuma-tags"
    assert "&team=a&" in sent["header"]["value"]
    assert sidecar.manager(HTTP_IN)["routeConfig"]["requestHeadersToRemove"] == ["x-kuma-tags"]


def test_several_tags_are_one_condition() -> None:
    target = {"kind": "MeshSubset", "tags": {"team": "b", "kuma.io/zone": "east.1"}}
    sidecar = Sidecar(policy("MeshFaultInjection", "p", from_=[{"targetRef": target, "default": FAULTS}]))
    (header,) = sidecar.http_filter(HTTP_IN, "fault")["typedConfig"]["headers"]
    pattern = r".*&kuma.io/zone=[^&]*east\.1[,&].*&team=[^&]*b[,&].*"
    assert header["stringMatch"]["safeRegex"]["regex"] == pattern


def test_without_faults_nothing_is_told() -> None:
    assert "requestHeadersToAdd" not in Sidecar().manager(HTTP_OUT)["routeConfig"]


def test_values_of_one_tag_are_joined() -> None:
    assert tags_header((("a", "1"), ("a", "2"), ("b", "3"))) == "&a=1,2&&b=3&"


def test_bandwidths() -> None:
    assert [kilobits(text) for text in ("5kbps", "5 Mbps", "1Gbps")] == [5, 5_000, 1_000_000]
    with pytest.raises(ValueError, match="'5 apples' is no bandwidth"):
        kilobits("5 apples")


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(rules("MeshFaultInjection", FAULTS, SPIFFE), by_tags() | {"name": "q"}).validate(tmp_path)


def test_an_interim_answer_ends_no_request() -> None:
    fault = {"abort": {"httpStatus": 103, "percentage": 1}, "delay": {"value": "1s", "percentage": 1}}
    found = Sidecar(rules("MeshFaultInjection", {"http": [fault]})).manager(HTTP_IN)["httpFilters"]
    (injected,) = [each["typedConfig"] for each in found if each["name"].startswith("kri_mfi")]
    assert "abort" not in injected and "delay" in injected
