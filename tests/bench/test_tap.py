"""What the tap notes of a conversation: each response with its answer, and whether it was refused."""

from __future__ import annotations

from typing import Any

from bench import wire
from bench.tap import Exchange, Observed
from bench.wire import frame, grpc_message
from xds.proto import msg, serialize
from xds.types import CLUSTER, ROUTE


def message(name: str, **fields: Any) -> bytes:
    made = msg(f"envoy.service.discovery.v3.{name}")(**fields)
    return frame(wire.DATA, 0, 1, grpc_message(serialize(made)))


def test_a_response_and_its_answer_are_one_exchange() -> None:
    noted: list[Exchange] = []
    observed = Observed(noted.append)
    observed.request_bytes(wire.PREFACE + message("DeltaDiscoveryRequest", type_url=CLUSTER), 1.0)
    observed.response_bytes(message("DeltaDiscoveryResponse", type_url=CLUSTER, nonce="1"), 2.0)
    observed.response_bytes(message("DeltaDiscoveryResponse", type_url=ROUTE, nonce="2"), 3.0)
    assert noted == []
    refusal = {"code": 13, "message": "no"}
    answer = message("DeltaDiscoveryRequest", type_url=ROUTE, response_nonce="2", error_detail=refusal)
    observed.request_bytes(answer, 4.0)
    observed.request_bytes(message("DeltaDiscoveryRequest", type_url=CLUSTER, response_nonce="1"), 5.0)
    assert noted == [Exchange(ROUTE, 3.0, 4.0, True), Exchange(CLUSTER, 2.0, 5.0, False)]


def test_an_answer_to_nothing_is_not_noted() -> None:
    noted: list[Exchange] = []
    observed = Observed(noted.append)
    stray = message("DeltaDiscoveryRequest", type_url=CLUSTER, response_nonce="9")
    observed.request_bytes(wire.PREFACE + stray, 1.0)
    assert noted == []
