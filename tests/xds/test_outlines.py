"""The eighteen outlines of the public xDS conformance harness (ii/xds-test-harness), each as one playbook.

They are played twice: against the session as a pure machine, and over gRPC against the server. The harness keeps
them in features/delta.feature (six, incremental), features/subscribing.feature (nine, state of the world) and
features/unsubcribing.feature (three); a later revision of it merges two of the six and repeats the ninth. Where it
has two outlines of one name, for types whose responses are complete and for the others, so have we.

We differ in one point, on purpose: endpoints that are gone are not removed but emptied, since Envoy
acknowledges their removal and keeps using them (test_delta.py has the playbook).
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
    served,
)
from tests.xds.wire import Loop, over_wire
from xds.delta import DeltaSession
from xds.session import Session
from xds.sotw import SotwSession

Open = Callable[[], Session]
ALL = [CDS, LDS, RDS, EDS]
COMPLETE = [CDS, LDS]
PARTIAL = [RDS, EDS]
REMOVABLE = [CDS, LDS, RDS]


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


# --- features/delta.feature: incremental ---------------------------------------------------------


@pytest.mark.parametrize("service", ALL)
def test_01_names_that_are_subscribed_at_once_are_sent(delta: Open, service: str) -> None:
    assert served(delta(), service, "A@1 B@1 C@1", "A B C")


@pytest.mark.parametrize("service", ALL)
def test_02_names_that_are_subscribed_one_after_the_other_are_sent_one_by_one(
    delta: Open, service: str
) -> None:
    assert (
        served(delta(), service, "A@1 B@1 C@1", "A")
        >> Subscribe(service, "B")
        << Response(service, "B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_03_an_update_brings_that_resource_only(delta: Open, service: str) -> None:
    assert (
        served(delta(), service, "A@1 B@1 C@1", "A B C")
        >> Put(service, "A@2")
        << Response(service, "A@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_04_a_client_is_told_what_does_not_exist_and_later_that_it_does(delta: Open, service: str) -> None:
    assert (
        served(delta(), service, "A@1", "A B")
        >> Put(service, "B@1")
        << Response(service, "B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", REMOVABLE)
def test_05_a_removed_resource_is_reported_and_may_come_back(delta: Open, service: str) -> None:
    assert (
        served(delta(), service, "A@1 B@1", "A B")
        >> Drop(service, "B")
        << Response(service, removed="B")
        >> Ack(service)
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_06_names_can_be_unsubscribed_one_by_one(delta: Open, service: str) -> None:
    assert (
        served(delta(), service, "A@1 B@1", "A B")
        >> Unsubscribe(service, "B")
        >> Put(service, "B@2")
        >> Unsubscribe(service, "A")
        >> Put(service, "A@2")
    )


# --- features/subscribing.feature: state of the world --------------------------------------------


@pytest.mark.parametrize("service", COMPLETE)
def test_07_a_wildcard_brings_everything_in_one_response(sotw: Open, service: str) -> None:
    assert served(sotw(), service, "A@1 B@1 C@1")


@pytest.mark.parametrize("service", COMPLETE)
def test_08_an_update_brings_the_complete_state(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1")
        >> Put(service, "A@2")
        << Response(service, "A@2 B@1 C@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_09_an_addition_brings_the_complete_state(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1")
        >> Put(service, "D@2")
        << Response(service, "A@1 B@1 C@1 D@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_10_only_named_resources_are_sent(sotw: Open, service: str) -> None:
    assert served(sotw(), service, "A@1 B@1 C@1 D@1", "B D") >> Put(service, "A@2")


@pytest.mark.parametrize("service", COMPLETE)
def test_11_a_changed_named_resource_brings_all_named_ones(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1 D@1", "B D")
        >> Put(service, "B@2")
        << Response(service, "B@2 D@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", PARTIAL)
def test_12_a_changed_named_resource_comes_alone(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1 D@1", "B D")
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", COMPLETE)
def test_13_a_missing_resource_is_sent_with_the_others_once_it_exists(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1", "A Z")
        >> Put(service, "Z@2")
        << Response(service, "A@1 Z@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", PARTIAL)
def test_14_a_missing_resource_is_sent_once_it_exists(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1", "A Z")
        >> Put(service, "Z@2")
        << Response(service, "Z@2")
        >> Ack(service)
    )


@pytest.mark.parametrize(("service", "other"), [(CDS, LDS), (RDS, EDS)])
def test_15_several_services_share_a_stream(sotw: Open, service: str, other: str) -> None:
    assert (
        Playbook(sotw())
        >> Change(Put(service, "A@1 B@1 C@1"), Put(other, "A@1 B@1 C@1"))
        >> Want(service, "B")
        << Response(service, "B@1")
        >> Ack(service)
        >> Want(other, "B")
        << Response(other, "B@1")
        >> Ack(other)
        >> Put(service, "B@2")
        << Response(service, "B@2")
    )


# --- features/unsubcribing.feature: state of the world -------------------------------------------


@pytest.mark.parametrize("service", COMPLETE)
def test_16_a_name_that_is_no_longer_wanted_leaves_the_complete_state(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1", "A B C")
        >> Want(service, "A B")
        >> Put(service, "C@2")
        >> Put(service, "A@2")
        << Response(service, "A@2 B@1")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", PARTIAL)
def test_17_a_name_that_is_no_longer_wanted_is_no_longer_sent(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1 C@1", "A B")
        >> Want(service, "B")
        >> Put(service, "A@2")
        >> Put(service, "B@2")
        << Response(service, "B@2")
        >> Ack(service)
    )


@pytest.mark.parametrize("service", ALL)
def test_18_a_client_can_leave_all_names(sotw: Open, service: str) -> None:
    assert (
        served(sotw(), service, "A@1 B@1", "A B")
        >> Want(service, "")
        >> Put(service, "A@2")
        >> Want(service, "")
        >> Put(service, "A@3 B@3")
    )
