"""Virtual addresses: one for each destination, unique in the zone, from a range per kind.

A destination's address is derived from its name, so one that is deleted and made again usually has the
one it had, wherever clients may have kept it; a taken one gives way to the next that is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from mesh.resource import ResourceKey

RANGES: Mapping[str, IPv4Network] = {
    "MeshService": IPv4Network("241.0.0.0/8"),
    "MeshExternalService": IPv4Network("242.0.0.0/8"),
    "MeshMultiZoneService": IPv4Network("243.0.0.0/8"),
}


class Addresses:
    """Who has which virtual address."""

    def __init__(self) -> None:
        self._owners: dict[str, ResourceKey] = {}

    def claim(self, key: ResourceKey, address: str | None) -> str:
        """The address of a destination that says it has `address`: that one, unless it is another's."""
        if address is None or self._owners.get(address, key) != key:
            address = self._free(key)
        self._owners[address] = key
        return address

    def release(self, key: ResourceKey, address: str | None) -> None:
        """A destination is gone."""
        if address is not None and self._owners.get(address) == key:
            del self._owners[address]

    def _free(self, key: ResourceKey) -> str:
        """The first free address from where the name points. A range has millions, a zone thousands."""
        network = RANGES[key.kind]
        hosts = network.num_addresses - 2
        start = int.from_bytes(hashlib.sha256(f"{key.mesh}/{key.name}".encode()).digest()[:8])
        for step in range(hosts):
            address = str(IPv4Address(int(network.network_address) + 1 + (start + step) % hosts))
            if self._owners.get(address, key) == key:
                return address
        raise RuntimeError(f"no virtual address is left in {network}")
