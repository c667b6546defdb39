"""The outlines of the public xDS conformance harness (ii/xds-test-harness), each as a playbook.

They are played twice: against the session as a pure machine, and over gRPC against the server. The harness has
eighteen outlines: features/delta.feature for the incremental variant, features/subscribing.feature and
unsubcribing.feature for state of the world; what those say of wildcards is told of delta, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.xds.playbook import (
    CDS,
    EDS,
    LDS,
    RDS,
    Ack,
    Change,
    Drop,
    Playbook,
    Put,
    Response,
    Subscribe,
    Unsubscribe,
    Want,
)
from tests.xds.wire import Loop, over_wire
from xds.delta import DeltaSession
from xds.session import Session
from xds.sotw import SotwSession

Open = Callable[[], Session]
ALL = [CDS, LDS, RDS, EDS]
COMPLETE = [CDS, LDS]
PARTIAL = [RDS, EDS]
WILDCARDS = COMPLETE


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(params=["machine", "server"])
def delta(request: pytest.FixtureRequest, loop: Loop) -> Iterator[Open]:
    with ExitStack() as stack:
        yield _opener(stack, loop, over_grpc=request.param == "server", sotw=False)


@pytest.fixture(params=["machine", "server"])
def sotw(request: pytest.FixtureRequest, loop: Loop) -> Iterator[Open]:
    with ExitStack() as stack:
        yield _opener(stack, loop, over_grpc=request.param == "server", sotw=True)


def _opener(stack: ExitStack, loop: Loop, *, over_grpc: bool, sotw: bool) -> Open:
    def open_session() -> Session:
        if not over_grpc:
            return SotwSession() if sotw else DeltaSession()
        session, wire = over_wire(loop, sotw=sotw)
        stack.callback(wire.close)
        return session

    return open_session


# --- incremental ---------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ALL)
def test_subscribe_to_resources_one_after_the_other(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1 C@1")
        >> Subscribe(service, "A")
        << Response(service, "A@1")
        >> Ack(service)
        >> Subscribe(service, "B")
        << Response(service, "B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_an_update_brings_that_resource_only(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1 C@1")
        >> Subscribe(service, "A B C")
        << Response(service, "A@1 B@1 C@1")
        >> Ack(service)
        >> Put(service, "A@2")
        << Response(service, "A@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_a_client_is_told_what_does_not_exist_and_later_that_it_does(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1")
        >> Subscribe(service, "A B")
        << Response(service, "A@1", removed="B")
        >> Ack(service)
        >> Put(service, "B@1")
        << Response(service, "B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", [CDS, LDS, RDS])
def test_a_removed_resource_is_reported_and_may_come_back(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1")
        >> Subscribe(service, "A B")
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Drop(service, "B")
        << Response(service, removed="B")
        >> Ack(service)
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_unsubscribed_resources_are_not_sent(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1")
        >> Subscribe(service, "A B")
        << Response(service, "A@1 B@1")
        >> Ack(service)
        >> Unsubscribe(service, "B")
        >> Put(service, "B@2")
        >> Unsubscribe(service, "A")
        >> Put(service, "A@2")
    )


@pytest.mark.parametrize("service", WILDCARDS)
def test_a_wildcard_brings_everything_then_changes_additions_and_removals(delta: Open, service: str) -> None:
    assert (
        Playbook(delta())
        >> Put(service, "A@1 B@1 C@1")
        >> Subscribe(service)
        << Response(service, "A@1 B@1 C@1")
        >> Ack(service)
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


def test_several_services_share_a_stream(delta: Open) -> None:
    assert (
        Playbook(delta())
        >> Change(Put(CDS, "A@1 B@1"), Put(LDS, "A@1 B@1"))
        >> Subscribe(CDS, "B")
        << Response(CDS, "B@1")
        >> Ack(CDS)
        >> Subscribe(LDS, "B")
        << Response(LDS, "B@1")
        >> Ack(LDS)
        >> Put(CDS, "B@2")
        << Response(CDS, "B@2")
        >> Ack(CDS)
    )


# --- state of the world --------------------------------------------------------------------------


@pytest.mark.parametrize("service", COMPLETE)
def test_a_wildcard_brings_everything(sotw: Open, service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1")
        >> Want(service)
        << Response(service, "A@1 B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_an_update_brings_the_complete_state(sotw: Open, service: str) -> None:
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


@pytest.mark.parametrize("service", ALL)
def test_only_named_resources_are_sent(sotw: Open, service: str) -> None:
    assert (
        Playbook(sotw())
        >> Put(service, "A@1 B@1 C@1 D@1")
        >> Want(service, "B D")
        << Response(service, "B@1 D@1")
        >> Ack(service)
        >> Put(service, "A@2")
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_a_changed_named_resource_brings_all_named_ones(sotw: Open, service: str) -> None:
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
def test_a_changed_named_resource_comes_alone(sotw: Open, service: str) -> None:
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
def test_a_missing_resource_is_sent_with_the_others_once_it_exists(sotw: Open, service: str) -> None:
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
def test_a_missing_resource_is_sent_once_it_exists(sotw: Open, service: str) -> None:
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


@pytest.mark.parametrize("service", ALL)
def test_a_name_that_is_no_longer_wanted_is_no_longer_sent(sotw: Open, service: str) -> None:
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


@pytest.mark.parametrize("service", ALL)
def test_a_client_can_leave_all_names(sotw: Open, service: str) -> None:
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


def test_several_services_share_a_stream_of_complete_states(sotw: Open) -> None:
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
