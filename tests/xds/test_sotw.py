"""State of the world, as playbooks.

The first part retells the outlines of the xDS conformance harness (ii/xds-test-harness,
features/subscriptions.feature); `Want` repeats all names, as this variant of the protocol does.
"""

from __future__ import annotations

import pytest

from tests.xds.playbook import (
    CDS,
    EDS,
    LDS,
    RDS,
    Ack,
    Change,
    Drop,
    Nack,
    Nothing,
    Playbook,
    Put,
    Raw,
    Refused,
    Rejected,
    Response,
    Want,
    sotw,
)
from xds.encode import encode
from xds.sotw import state_version
from xds.types import CLUSTER

COMPLETE = [CDS, LDS]
PARTIAL = [RDS, EDS]


@pytest.mark.parametrize("service", COMPLETE)
def test_a_wildcard_brings_everything(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1")
        >> Want(service)
        << Response(service, "A@1 B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_an_update_brings_the_complete_state(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1")
        >> Want(service)
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Put(service, "A@2")
        << Response(service, "A@2 B@1")
        >> Ack(service)
        >> Put(service, "C@2")
        << Response(service, "A@2 B@1 C@2")
        >> Ack(service)
        >> Drop(service, "B")
        << Response(service, "A@2 C@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE + PARTIAL)
def test_only_named_resources_are_sent(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1 C@1 D@1")
        >> Want(service, "B D")
        << Response(service, "B@1 D@1")
        >> Ack(service)
        >> Put(service, "A@2")
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_a_changed_named_resource_brings_all_named_ones(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1 C@1 D@1")
        >> Want(service, "B D")
        << Response(service, "B@1 D@1")
        >> Ack(service)
        >> Put(service, "B@2")
        << Response(service, "B@2 D@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", PARTIAL)
def test_a_changed_named_resource_comes_alone(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1 C@1 D@1")
        >> Want(service, "B D")
        << Response(service, "B@1 D@1")
        >> Ack(service)
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_a_missing_resource_is_sent_with_the_others_once_it_exists(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1")
        >> Want(service, "A Z")
        << Response(service, "A@1")
        >> Ack(service)
        >> Put(service, "Z@2")
        << Response(service, "A@1 Z@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", PARTIAL)
def test_a_missing_resource_is_sent_once_it_exists(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1")
        >> Want(service, "A Z")
        << Response(service, "A@1")
        >> Ack(service)
        >> Put(service, "Z@2")
        << Response(service, "Z@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE + PARTIAL)
def test_a_name_that_is_no_longer_wanted_is_no_longer_sent(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1 C@1")
        >> Want(service, "A B")
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Want(service, "B")
        >> Put(service, "A@2")
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE + PARTIAL)
def test_a_client_can_leave_all_names(service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1")
        >> Want(service, "A B")
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Want(service, "")
        >> Put(service, "A@2")
        >> Want(service, "")
        >> Put(service, "A@3 B@3")
    )


def test_several_services_share_a_stream() -> None:
    assert (
        Playbook(sotw())
        >> Change(Put(RDS, "A@1 B@1"), Put(EDS, "A@1 B@1"))
        >> Want(RDS, "B")
        << Response(RDS, "B@1")
        >> Ack(RDS)
        >> Want(EDS, "B")
        << Response(EDS, "B@1")
        >> Ack(EDS)
        >> Put(RDS, "B@2")
        << Response(RDS, "B@2")
    )


# --- our own rules -----------------------------------------------------------------------------


def present(*entries: str) -> str:
    """The version_info of a state of clusters."""
    playbook = Playbook(sotw())
    return state_version({e.partition("@")[0]: playbook._resource(CDS, e) for e in entries})


def test_reconnecting_with_the_present_state_brings_nothing() -> None:
    assert (
        Playbook(sotw())
        >> Put(CDS, "A@1 B@1")
        >> Want(CDS, version=present("A@1", "B@1"))
        >> Put(CDS, "A@2")
        << Response(CDS, "A@2 B@1")
    )


def test_reconnecting_with_another_state_brings_the_present_one() -> None:
    assert (
        Playbook(sotw())
        >> Put(CDS, "A@2 B@1")
        >> Want(CDS, version=present("A@1", "B@1"))
        << Response(CDS, "A@2 B@1")
    )


def test_an_unknown_configuration_answers_nothing_and_an_empty_one_does() -> None:
    assert Playbook(sotw()) >> Want(CDS) >> Nothing() << Response(CDS) >> Ack(CDS)


def test_a_replaced_cluster_stays_until_the_routes_left_it() -> None:
    assert (
        Playbook(sotw())
        >> Change(Put(CDS, "old@1"), Put(LDS, "in@1"), Put(RDS, "r@1"))
        >> Want(CDS)
        << Response(CDS, "old@1")
        >> Ack(CDS)
        >> Want(LDS)
        << Response(LDS, "in@1")
        >> Ack(LDS)
        >> Want(RDS, "r")
        << Response(RDS, "r@1")
        >> Ack(RDS)
        >> Change(Drop(CDS, "old"), Put(CDS, "new@1"), Put(RDS, "r@2"))
        << Response(CDS, "new@1 old@1")
        >> Ack(CDS)
        << Response(RDS, "r@2")
        >> Ack(RDS)
        << Response(CDS, "new@1")
        >> Ack(CDS)
    )


def test_a_rejected_update_leaves_the_accepted_resource_in_the_next_state() -> None:
    assert (
        Playbook(sotw())
        >> Put(LDS, "A@1 B@1")
        >> Want(LDS)
        << Response(LDS, "A@1 B@1")
        >> Ack(LDS)
        >> Put(LDS, "A@bad")
        << Response(LDS, "A@bad B@1")
        >> Nack(LDS, "Error adding/updating listener(s) A: no")
        << Rejected(LDS, "A")
        >> Put(LDS, "B@2")
        << Response(LDS, "A@1 B@2")
        >> Ack(LDS)
        >> Put(LDS, "A@2")
        << Response(LDS, "A@2 B@2")
    )


def test_the_innocent_are_sent_without_the_culprit() -> None:
    assert (
        Playbook(sotw())
        >> Put(LDS, "A@1")
        >> Want(LDS)
        << Response(LDS, "A@1")
        >> Ack(LDS)
        >> Put(LDS, "B@bad C@1")
        << Response(LDS, "A@1 B@bad C@1")
        >> Nack(LDS, "Error adding/updating listener(s) B: no")
        << Rejected(LDS, "B")
        << Response(LDS, "A@1 C@1")
        >> Ack(LDS)
    )


def test_endpoints_follow_a_changed_cluster() -> None:
    assert (
        Playbook(sotw())
        >> Change(Put(CDS, "A@1"), Put(EDS, "A@1"))
        >> Want(CDS)
        << Response(CDS, "A@1")
        >> Want(EDS, "A")
        << Response(EDS, "A@1")
        >> Ack(EDS)
        >> Ack(CDS)
        >> Put(CDS, "A@2")
        << Response(CDS, "A@2")
        << Response(EDS, "A@1")
    )


def test_bytes_that_are_no_request_are_refused() -> None:
    assert Playbook(sotw()) >> Raw(b"\xff") << Refused("INVALID_ARGUMENT")


def test_the_version_of_a_state_depends_on_names_and_versions_alone() -> None:
    a, b = encode(CLUSTER, "a", b"\n\x01a"), encode(CLUSTER, "b", b"\n\x01b")
    assert state_version({"a": a, "b": b}) == state_version({"b": b, "a": a})
    assert state_version({"a": a}) != state_version({"a": a, "b": b})
    assert state_version({"a": a}) != state_version({"a": a._replace(version="0" * 16)})
