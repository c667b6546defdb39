"""Rejections on the delta stream, as playbooks: who is to blame, what is sent again, what is told."""

from __future__ import annotations

from tests.xds.playbook import (
    CDS,
    EDS,
    LDS,
    NODE,
    Ack,
    Change,
    Drop,
    Nack,
    Nothing,
    Playbook,
    Put,
    Rejected,
    Response,
    Subscribe,
    Unsubscribe,
    delta,
    warm,
)
from xds.types import CLUSTER, ENDPOINT


def test_a_rejected_resource_is_not_sent_again_until_it_changes() -> None:
    playbook = (
        warm()
        >> Put(LDS, "in@bad")
        << Response(LDS, "in@bad")
        >> Nack(LDS, "Error adding/updating listener(s) in: no filter chain")
        << Rejected(LDS, "in")
        >> Nothing()
        >> Put(LDS, "in@bad")
        >> Put(LDS, "in@2")
        << Response(LDS, "in@2")
        >> Ack(LDS)
    )
    assert playbook
    assert playbook.session.status.of(ENDPOINT).rejected == 0


def test_a_rejected_change_that_is_taken_back_is_sent_all_the_same() -> None:
    """What a client holds after a rejection, only it knows."""
    assert (
        warm()
        >> Put(LDS, "in@bad")
        << Response(LDS, "in@bad")
        >> Nack(LDS, "no")
        << Rejected(LDS, "in")
        >> Put(LDS, "in@1")
        << Response(LDS, "in@1")
        >> Ack(LDS)
        >> Drop(LDS, "in")
        << Response(LDS, removed="in")
    )


def test_innocents_of_a_rejected_response_that_change_back_meanwhile_are_sent_again() -> None:
    """Envoy applied in@2 although the response was rejected: in@1 must replace it."""
    assert (
        warm()
        >> Put(LDS, "bad@1 in@2")
        << Response(LDS, "bad@1 in@2")
        >> Put(LDS, "in@1")
        >> Nack(LDS, "Error adding/updating listener(s) bad: no")
        << Rejected(LDS, "bad")
        << Response(LDS, "in@1")
        >> Ack(LDS)
    )


def test_a_rejection_blocks_nothing_else() -> None:
    assert (
        warm()
        >> Change(Put(LDS, "bad@1 in@2"), Put(CDS, "A@2"))
        << Response(CDS, "A@2")
        << Response(EDS, "A@1")
        << Response(LDS, "bad@1 in@2")
        >> Nack(LDS, "Error adding/updating listener(s) bad: Didn't find a registered implementation")
        << Rejected(LDS, "bad")
        << Response(LDS, "in@2")
        >> Ack(LDS)
        >> Put(LDS, "out@1")
        << Response(LDS, "out@1")
        >> Ack(CDS)
        >> Ack(EDS)
    )


def test_a_rejection_that_blames_nobody_is_tracked_down_by_halves() -> None:
    assert (
        warm()
        >> Put(LDS, "w@1 x@1 y@bad z@1")
        << Response(LDS, "w@1 x@1 y@bad z@1")
        >> Nack(LDS, "out of memory")
        << Rejected(LDS, "")
        << Response(LDS, "w@1 x@1")
        >> Ack(LDS)
        << Response(LDS, "y@bad z@1")
        >> Nack(LDS, "out of memory")
        << Rejected(LDS, "")
        << Response(LDS, "y@bad")
        >> Nack(LDS, "out of memory")
        << Rejected(LDS, "y")
        << Response(LDS, "z@1")
        >> Ack(LDS)
    )


def test_a_rejection_is_visible_until_the_resource_is_accepted() -> None:
    playbook = (
        warm() >> Put(LDS, "in@bad") << Response(LDS, "in@bad") >> Nack(LDS, "why") << Rejected(LDS, "in")
    )
    assert playbook
    status = playbook.session.status.of("type.googleapis.com/envoy.config.listener.v3.Listener")
    assert (status.sent, status.acked, status.rejected, status.last_error) == (1, 0, 1, "why")
    assert status.rejections["in"].message == "why"
    assert playbook >> Put(LDS, "in@3") << Response(LDS, "in@3") >> Ack(LDS)
    assert (status.sent, status.acked, status.rejections) == (2, 1, {})
    assert playbook.session.status.node is not None
    assert playbook.session.status.node.id == NODE


def test_a_rejected_resource_that_is_withdrawn_is_refused_no_more() -> None:
    session = delta()
    assert (
        Playbook(session)
        >> Put(CDS, "A@1 B@1")
        >> Subscribe(CDS)
        << Response(CDS, "A@1 B@1")
        >> Nack(CDS, "Error adding/updating cluster(s) B: bad")
        << Rejected(CDS, "B")
        << Response(CDS, "A@1")
        >> Ack(CDS)
        >> Drop(CDS, "B")
        << Response(CDS, removed="B")
    )
    assert list(session.status.types[CLUSTER].rejections) == ["B"]
    assert Playbook(session, nonces={CDS: "3"}) >> Ack(CDS)
    assert not session.status.types[CLUSTER].rejections


def test_a_rejected_resource_that_is_no_longer_wanted_is_refused_no_more() -> None:
    session = delta()
    assert (
        Playbook(session)
        >> Put(EDS, "A@1 B@1")
        >> Subscribe(EDS, "A B")
        << Response(EDS, "A@1 B@1")
        >> Nack(EDS, "B: bad")
        << Rejected(EDS, "B")
        << Response(EDS, "A@1")
        >> Ack(EDS)
        >> Unsubscribe(EDS, "B")
    )
    assert not session.status.types[ENDPOINT].rejections


def test_acknowledged_versions_do_not_count_what_is_under_way() -> None:
    playbook = (
        Playbook(delta()) >> Put(CDS, "A@1 B@1") >> Subscribe(CDS) << Response(CDS, "A@1 B@1") >> Ack(CDS)
    )
    assert playbook
    before = playbook.session.versions(CLUSTER)
    assert before.keys() == {"A", "B"}
    assert playbook >> Put(CDS, "A@2 C@1") << Response(CDS, "A@2 C@1")
    assert playbook.session.versions(CLUSTER) == before
    assert playbook >> Ack(CDS)
    assert playbook.session.versions(CLUSTER).keys() == {"A", "B", "C"}
