"""The delta stream, as playbooks.

What the public conformance harness asks for is in test_outlines.py; these are the finer points of the
protocol, and the rules of our own that keep traffic flowing.
"""

from __future__ import annotations

import pytest

from tests.xds.playbook import (
    CDS,
    EDS,
    LDS,
    NODE,
    RDS,
    SDS,
    Ack,
    Change,
    Drop,
    Late,
    Nothing,
    Playbook,
    Put,
    Raw,
    Refused,
    Response,
    Subscribe,
    Unsubscribe,
    Wait,
    delta,
    served,
    warm,
)
from xds.limits import ORDER_WAIT_S, RESUME_WAIT_S, TYPES_PER_STREAM_MAX
from xds.proto import msg, serialize
from xds.session import eds_name
from xds.types import CLUSTER

ALL = [CDS, LDS, RDS, EDS]


# --- wants and has -----------------------------------------------------------------------------


@pytest.mark.parametrize("service", ALL)
def test_an_explicit_wildcard_works_for_every_type(service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1")
        >> Subscribe(service, "*")
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Unsubscribe(service, "*")
        >> Put(service, "A@2")
    )


@pytest.mark.parametrize("service", [CDS, LDS])
def test_a_wildcard_brings_everything_then_changes_additions_and_removals(service: str) -> None:
    assert (
        served(delta(), service, "A@1 B@1 C@1")
        >> Put(service, "A@2")
        << Response(service, "A@2")
        >> Ack(service)
        >> Put(service, "D@1")
        << Response(service, "D@1")
        >> Ack(service)
        >> Drop(service, "B")
        << Response(service, removed="B")
        >> Ack(service)
    )


def test_several_services_share_a_stream() -> None:
    assert (
        served(delta(), CDS, "A@1 B@1", "B")
        >> Put(LDS, "A@1 B@1")
        >> Subscribe(LDS, "B")
        << Response(LDS, "B@1")
        >> Ack(LDS)
        >> Put(CDS, "B@2")
        << Response(CDS, "B@2")
        >> Ack(CDS)
    )


def test_asking_again_is_answered_again() -> None:
    assert (
        Playbook(delta())
        >> Put(EDS, "A@1")
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
        >> Ack(EDS)
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
    )


def test_reconnecting_with_the_present_versions_brings_nothing() -> None:
    assert (
        Playbook(delta())
        >> Change(Put(CDS, "A@1 B@1"), Put(EDS, "A@1"), Put(LDS, "in@1"))
        >> Subscribe(CDS, has="A@1 B@1")
        >> Subscribe(EDS, "A", has="A@1")
        >> Subscribe(LDS, has="in@1")
    )


def test_reconnecting_brings_what_changed_and_what_vanished_meanwhile() -> None:
    assert (
        Playbook(delta())
        >> Put(LDS, "A@1 B@2 D@1")
        >> Subscribe(LDS, has="A@1 B@1 C@1")
        << Response(LDS, "B@2 D@1", removed="C")
        >> Ack(LDS)
    )


def test_an_unknown_configuration_removes_nothing() -> None:
    """A replica that has not derived the proxy's configuration yet answers nothing at all."""
    assert (
        Playbook(delta())
        >> Subscribe(CDS, has="A@1")
        >> Subscribe(LDS, has="in@1")
        >> Change(Put(CDS, "A@1"), Put(LDS, "in@2"))
        << Response(LDS, "in@2")
    )


def test_a_new_client_is_answered_although_there_is_nothing() -> None:
    """Envoy starts no listener before its first cluster response, however empty."""
    assert Playbook(delta()) >> Nothing() >> Subscribe(CDS) << Response(CDS) >> Ack(CDS) >> Nothing()


def test_a_wildcard_client_that_drops_a_name_learns_what_remains() -> None:
    assert (
        Playbook(delta())
        >> Put(CDS, "A@1")
        >> Subscribe(CDS)
        << Response(CDS, "A@1")
        >> Ack(CDS)
        >> Subscribe(CDS, "lazy A")
        << Response(CDS, "A@1", removed="lazy")
        >> Ack(CDS)
        >> Unsubscribe(CDS, "lazy A")
        << Response(CDS, "A@1", removed="lazy")
    )


def test_on_demand_clusters_next_to_the_wildcard() -> None:
    assert (
        Playbook(delta())
        >> Put(CDS, "A@1")
        >> Subscribe(CDS)
        << Response(CDS, "A@1")
        >> Ack(CDS)
        >> Subscribe(CDS, "nope")
        << Response(CDS, removed="nope")
        >> Ack(CDS)
        >> Put(CDS, "nope@1")
        << Response(CDS, "nope@1")
    )


def test_a_cluster_on_demand_without_any_wildcard() -> None:
    """A client that only ever asks for the clusters that its requests name."""
    assert (
        Playbook(delta())
        >> Change(Put(CDS, "A@1 B@1 C@1"), Put(EDS, "A@1"))
        >> Subscribe(CDS, "A")
        << Response(CDS, "A@1")
        >> Ack(CDS)
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
        >> Ack(EDS)
        >> Put(CDS, "B@2")
        >> Put(CDS, "A@2")
        << Response(CDS, "A@2")
        << Response(EDS, "A@1")
        >> Ack(CDS)
        >> Ack(EDS)
        >> Unsubscribe(CDS, "A")
        >> Put(CDS, "A@3")
    )


def test_coming_back_with_clusters_on_demand_brings_nothing() -> None:
    assert (
        Playbook(delta())
        >> Put(CDS, "A@1 lazy@1")
        >> Subscribe(CDS, "* lazy", has="A@1 lazy@1")
        >> Put(CDS, "lazy@2")
        << Response(CDS, "lazy@2")
    )


def test_coming_back_with_a_cluster_on_demand_that_is_gone() -> None:
    assert (
        Playbook(delta())
        >> Put(CDS, "A@1")
        >> Subscribe(CDS, "lazy", has="lazy@1")
        >> Wait(RESUME_WAIT_S)
        << Response(CDS, removed="lazy")
        >> Ack(CDS)
        >> Put(CDS, "lazy@2")
        << Response(CDS, "lazy@2")
    )


def test_a_subscription_rides_on_an_ack() -> None:
    assert (
        Playbook(delta())
        >> Put(RDS, "A@1 B@1")
        >> Subscribe(RDS, "A")
        << Response(RDS, "A@1")
        >> Ack(RDS, subscribe="B")
        << Response(RDS, "B@1")
    )


# --- slow clients ------------------------------------------------------------------------------


def test_a_slow_client_gets_the_latest_state_and_not_the_history() -> None:
    assert (
        Playbook(delta())
        >> Put(EDS, "A@1")
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
        >> Put(EDS, "A@2")
        >> Put(EDS, "A@3")
        >> Put(EDS, "A@4")
        >> Ack(EDS)
        << Response(EDS, "A@4")
    )


def test_a_change_that_is_taken_back_meanwhile_is_never_sent() -> None:
    assert (
        Playbook(delta())
        >> Put(EDS, "A@1")
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
        >> Put(EDS, "A@2")
        >> Put(EDS, "A@1")
        >> Ack(EDS)
    )


def test_a_stale_nonce_acknowledges_nothing() -> None:
    assert (
        Playbook(delta())
        >> Put(EDS, "A@1")
        >> Subscribe(EDS, "A")
        << Response(EDS, "A@1")
        >> Late(EDS)
        >> Put(EDS, "A@2")
        >> Ack(EDS)
        << Response(EDS, "A@2")
    )


# --- make before break -------------------------------------------------------------------------


def test_routes_wait_until_a_new_cluster_is_warm() -> None:
    assert (
        warm()
        >> Change(Put(RDS, "r@2"), Put(CDS, "B@1"), Put(EDS, "B@1"))
        << Response(CDS, "B@1")
        >> Subscribe(EDS, "B")
        << Response(EDS, "B@1")
        >> Ack(EDS)
        >> Ack(CDS)
        << Response(RDS, "r@2")
    )


def test_listeners_do_not_wait_for_a_changed_cluster() -> None:
    assert (
        warm()
        >> Change(Put(LDS, "in@2"), Put(CDS, "A@2"))
        << Response(CDS, "A@2")
        << Response(EDS, "A@1")
        << Response(LDS, "in@2")
    )


def test_a_cluster_is_removed_after_the_routes_left_it() -> None:
    assert (
        warm(clusters="A@1 B@1")
        >> Change(Drop(CDS, "B"), Put(RDS, "r@2"))
        << Response(RDS, "r@2")
        >> Ack(RDS)
        << Response(CDS, removed="B")
    )


def test_a_replaced_cluster_is_made_before_the_old_one_is_broken() -> None:
    assert (
        warm(clusters="A@1 B@1")
        >> Change(Drop(CDS, "B"), Put(CDS, "C@1"), Put(LDS, "in@2"), Put(RDS, "r@2"))
        << Response(CDS, "C@1")
        >> Ack(CDS)
        << Response(LDS, "in@2")
        << Response(RDS, "r@2")
        >> Ack(LDS)
        >> Ack(RDS)
        << Response(CDS, removed="B")
        >> Ack(CDS)
    )


def test_a_route_is_removed_after_its_listener() -> None:
    assert (
        warm(listeners="in@1 out@1")
        >> Change(Drop(RDS, "r"), Drop(LDS, "out"))
        << Response(LDS, removed="out")
        >> Ack(LDS)
        << Response(RDS, removed="r")
    )


def test_a_cluster_that_never_warms_does_not_hold_listeners_for_ever() -> None:
    assert (
        warm()
        >> Change(Put(CDS, "B@1"), Put(LDS, "in@2"))
        << Response(CDS, "B@1")
        >> Wait(ORDER_WAIT_S - 0.1)
        >> Wait(0.2)
        << Response(LDS, "in@2")
    )


def test_a_client_that_does_not_acknowledge_does_not_keep_old_clusters_for_ever() -> None:
    assert (
        warm(clusters="A@1 B@1")
        >> Change(Drop(CDS, "B"), Put(RDS, "r@2"))
        << Response(RDS, "r@2")
        >> Wait(ORDER_WAIT_S)
        << Response(CDS, removed="B")
    )


def test_nothing_waits_when_nothing_is_held() -> None:
    playbook = warm() >> Put(LDS, "in@2") << Response(LDS, "in@2") >> Ack(LDS)
    assert playbook
    assert playbook.session.deadline() is None


# --- endpoints ---------------------------------------------------------------------------------


def test_endpoints_follow_a_changed_cluster_at_once() -> None:
    """Envoy warms the changed cluster and acknowledges nothing of CDS until it has endpoints."""
    assert warm() >> Put(CDS, "A@2") << Response(CDS, "A@2") << Response(EDS, "A@1") >> Ack(EDS) >> Ack(CDS)


def test_endpoints_follow_a_cluster_that_changed_while_the_client_was_away() -> None:
    assert (
        Playbook(delta())
        >> Change(Put(CDS, "A@2"), Put(EDS, "A@1"))
        >> Subscribe(CDS, has="A@1")
        << Response(CDS, "A@2")
        >> Subscribe(EDS, "A", has="A@1")
        << Response(EDS, "A@1")
    )


def test_endpoints_follow_by_the_name_that_the_cluster_asks_for() -> None:
    assert (
        Playbook(delta())
        >> Change(Put(CDS, "A@1/shared"), Put(EDS, "A@1 shared@1"))
        >> Subscribe(CDS, has="A@1/shared")
        >> Subscribe(EDS, "shared", has="shared@1")
        >> Put(CDS, "A@2/shared")
        << Response(CDS, "A@2/shared")
        << Response(EDS, "shared@1")
    )


def test_a_cluster_without_eds_has_no_endpoints_to_follow() -> None:
    static = msg("envoy.config.cluster.v3.Cluster")(name="A", type="STATIC")
    assert eds_name(serialize(static)) is None


def test_an_emptied_service_is_an_empty_assignment_and_never_a_removal() -> None:
    assert (
        warm()
        >> Drop(EDS, "A")
        << Response(EDS, "A@empty")
        >> Ack(EDS)
        >> Put(EDS, "A@2")
        << Response(EDS, "A@2")
    )


def test_endpoints_of_a_removed_cluster_are_not_sent() -> None:
    assert (
        warm()
        >> Change(Drop(CDS, "A"), Drop(EDS, "A"))
        << Response(CDS, removed="A")
        >> Unsubscribe(EDS, "A")
        >> Ack(CDS)
    )


# --- secrets -----------------------------------------------------------------------------------


def test_secrets_are_sent_before_what_uses_them_and_removed_after() -> None:
    assert (
        warm()
        >> Put(SDS, "cert@1")
        >> Subscribe(SDS, "cert", has="cert@1")
        >> Change(Put(LDS, "in@2"), Put(SDS, "cert@2"))
        << Response(SDS, "cert@2")
        << Response(LDS, "in@2")
        >> Ack(SDS)
        >> Drop(SDS, "cert")
        >> Ack(LDS)
        << Response(SDS, removed="cert")
    )


# --- clients that break the protocol -----------------------------------------------------------


def test_a_stream_without_a_node_is_refused() -> None:
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=CLUSTER)
    assert Playbook(delta()) >> Raw(serialize(request)) << Refused("INVALID_ARGUMENT") >> Subscribe(CDS)


def test_bytes_that_are_no_request_are_refused() -> None:
    assert Playbook(delta()) >> Raw(b"\xff\xff\xff") << Refused("INVALID_ARGUMENT")


def test_a_request_without_a_type_is_refused() -> None:
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(node={"id": NODE})
    assert Playbook(delta()) >> Raw(serialize(request)) << Refused("INVALID_ARGUMENT")


def test_too_many_types_are_refused() -> None:
    playbook = Playbook(delta())
    for number in range(TYPES_PER_STREAM_MAX):
        request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
            type_url=f"type.googleapis.com/t{number}", node={"id": NODE}
        )
        playbook >>= Raw(serialize(request))
    assert playbook >> Subscribe(CDS) << Refused("RESOURCE_EXHAUSTED")


def test_a_type_that_we_do_not_serve_is_answered_too() -> None:
    session = delta()
    session.update({}, [], 0.0)
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
        type_url="type.googleapis.com/envoy.service.runtime.v3.Runtime",
        node={"id": NODE},
        resource_names_subscribe=["gateway.listeners"],
    )
    effects = session.receive(serialize(request), 0.0)
    assert getattr(effects[-1], "removed", None) == ("gateway.listeners",)
