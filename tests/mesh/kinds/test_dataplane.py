"""What a Dataplane says of itself."""

from __future__ import annotations

from typing import Any

from mesh.codec import decode
from mesh.kinds.dataplane import Dataplane


def spec(**networking: Any) -> Dataplane:
    result: Dataplane = decode({"type": "Dataplane", "name": "dp", "networking": networking}).spec
    return result


def inbound(service: str, **more: Any) -> dict[str, Any]:
    return {"port": 80, "tags": {"kuma.io/service": service}, **more}


def test_services_are_sorted_and_unique() -> None:
    proxy = spec(inbound=[inbound("web"), inbound("db"), inbound("web"), inbound("off", state="Ignored")])
    assert proxy.services == ("db", "web")
    assert len(proxy.tag_sets) == 3


def test_gateways() -> None:
    delegated = spec(gateway={"tags": {"kuma.io/service": "edge"}})
    builtin = spec(gateway={"type": "BUILTIN"})
    assert (delegated.is_delegated_gateway, delegated.is_builtin_gateway) == (True, False)
    assert (builtin.is_delegated_gateway, builtin.is_builtin_gateway) == (False, True)
    assert delegated.services == ("edge",)
    assert builtin.tag_sets == ({},)


def test_a_dataplane_without_networking() -> None:
    empty: Dataplane = decode({"type": "Dataplane", "name": "dp"}).spec
    assert empty.tag_sets == ()
    assert not empty.is_builtin_gateway
    assert not empty.is_delegated_gateway


def test_readiness_and_section_of_an_inbound() -> None:
    networking = spec(
        inbound=[
            inbound("a"),
            inbound("a", state="NotReady", name="main"),
            inbound("a", health={"ready": False}),
            inbound("a", health={"ready": True}),
            inbound("a", state="Ignored", health={"ready": True}),
        ]
    ).networking
    assert networking is not None
    assert [i.is_ready for i in networking.inbound] == [True, False, False, True, False]
    assert [i.section for i in networking.inbound[:2]] == ["80", "main"]
