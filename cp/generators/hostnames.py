"""Which host names HostnameGenerators give to which destination, and who has a name that two want.

A name belongs to one destination of a mesh. Among those that want it a generator of the zone comes
before one of Global, then the older, then the one that is first by name; among the destinations of
one generator the older comes first. Losers are told in their status.
"""

from __future__ import annotations

from typing import NamedTuple

from mesh.hostnames import SELECTORS, render, selects
from mesh.kinds.common import Address, Condition, HostnameGeneratorRef, HostnameGeneratorStatus
from mesh.resource import ResourceKey
from mesh.templates import TemplateError
from xds.engine import Context, derivation


class Given(NamedTuple):
    """What one generator makes of one destination. hostname is "" when there is a problem."""

    generator: str
    origin: str
    hostname: str
    problem: str
    precedence: tuple[bool, int, str, int]


class Names(NamedTuple):
    """For the status of a destination."""

    addresses: tuple[Address, ...]
    generators: tuple[HostnameGeneratorStatus, ...]


@derivation
def names_of(ctx: Context, kind: str, mesh: str, name: str) -> Names:
    """The host names of a destination, and what became of each generator that selects it."""
    addresses: list[Address] = []
    told: list[HostnameGeneratorStatus] = []
    key = ResourceKey(kind, mesh, name)
    for given in given_names(ctx, kind, mesh, name):
        ref = HostnameGeneratorRef(core_name=given.generator)
        owner = owner_of(ctx, mesh, given.hostname) if given.hostname else key
        if given.problem:
            condition = _condition("TemplateError", given.problem)
        elif owner != key:
            condition = _condition("Collision", f"{given.hostname} belongs to {owner.kind} {owner.name}")
        else:
            condition = Condition(type="Generated", status="True", reason="Generated", message="")
            addresses.append(Address(given.hostname, given.origin, ref))
        told.append(HostnameGeneratorStatus(ref, (condition,)))
    return Names(tuple(addresses), tuple(told))


def _condition(reason: str, message: str) -> Condition:
    return Condition(type="Generated", status="False", reason=reason, message=message)


@derivation
def given_names(ctx: Context, kind: str, mesh: str, name: str) -> tuple[Given, ...]:
    """What each generator that selects a destination makes of it."""
    service = ctx.get(kind, mesh, name)
    if service is None:
        return ()
    found = []
    for generator in ctx.list("HostnameGenerator"):
        if not selects(generator, service, service.labels):
            continue
        hostname = problem = ""
        try:
            hostname = render(generator, service, service.zone)
        except TemplateError as error:
            problem = str(error)
        precedence = (generator.origin != "zone", generator.created_ms, generator.name, service.created_ms)
        found.append(Given(generator.name, generator.origin, hostname, problem, precedence))
    return tuple(found)


@derivation
def owner_of(ctx: Context, mesh: str, hostname: str) -> ResourceKey:
    """Who has a host name that at least one destination wants."""
    owner: ResourceKey = owners(ctx, mesh)[hostname]
    return owner


@derivation
def owners(ctx: Context, mesh: str) -> dict[str, ResourceKey]:
    """All host names of a mesh, and whose they are."""
    best: dict[str, tuple[tuple[bool, int, str, int], ResourceKey]] = {}
    for kind in SELECTORS:
        for name in names_in(ctx, kind, mesh):
            for given in given_names(ctx, kind, mesh, name):
                claim = (given.precedence, ResourceKey(kind, mesh, name))
                if given.hostname:
                    best[given.hostname] = min(claim, best.get(given.hostname, claim))
    return {hostname: key for hostname, (_, key) in best.items()}


@derivation
def names_in(ctx: Context, kind: str, mesh: str) -> tuple[str, ...]:
    """The names of all resources of a kind; what they say does not matter."""
    return tuple(resource.name for resource in ctx.list(kind, mesh))
