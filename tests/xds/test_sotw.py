"""State of the world, as playbooks.

What the public conformance harness asks for is in test_outlines.py; these are the rules of our own. `Want`
repeats all names, as this variant of the protocol does.
"""

from __future__ import annotations

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
    served,
    sotw,
)
from xds.encode import encode
from xds.sotw import state_version
from xds.types import CLUSTER


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


def test_what_is_gone_is_left_out_of_the_complete_state() -> None:
    assert (
        served(sotw(), CDS, "A@1 B@1")
        >> Drop(CDS, "B")
        << Response(CDS, "A@1")
        >> Ack(CDS)
        >> Put(CDS, "A@2 C@1")
        << Response(CDS, "A@2 C@1")
        >> Ack(CDS)
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
        served(sotw(), LDS, "A@1 B@1")
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
        served(sotw(), LDS, "A@1")
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
