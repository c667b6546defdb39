"""Virtual addresses are unique, and stay with their destination."""

from __future__ import annotations

from ipaddress import ip_address

from cp.generators.addresses import RANGES, Addresses
from mesh.resource import ResourceKey

WEB, DB = ResourceKey("MeshService", "default", "web"), ResourceKey("MeshService", "default", "db")


def test_each_kind_has_a_range() -> None:
    for kind, network in RANGES.items():
        assert ip_address(Addresses().claim(ResourceKey(kind, "m", "n"), None)) in network


def test_an_address_depends_on_the_name_and_is_kept() -> None:
    one, other = Addresses(), Addresses()
    address = one.claim(WEB, None)
    assert other.claim(DB, None) != address and other.claim(WEB, None) == address
    assert one.claim(WEB, address) == address
    assert one.claim(WEB, "241.1.2.3") == "241.1.2.3", "what it says it has is free, so it is right"


def test_a_taken_address_is_not_given_twice() -> None:
    addresses = Addresses()
    taken = addresses.claim(WEB, None)
    moved = addresses.claim(DB, taken)
    assert moved != taken and addresses.claim(DB, moved) == moved
    addresses.release(DB, taken)
    assert addresses.claim(DB, taken) != taken, "only its owner releases an address"
    addresses.release(WEB, taken)
    assert addresses.claim(DB, taken) == taken


def test_two_names_that_point_to_the_same_place() -> None:
    addresses = Addresses()
    first = addresses.claim(WEB, None)
    squatter = Addresses()
    squatter.claim(DB, first)
    assert squatter.claim(WEB, None) != first
