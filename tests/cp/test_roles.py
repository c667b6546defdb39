"""What roles grant: by kind, name and mesh, and by content; what is not granted is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cp import roles
from cp.roles import Edit, Rules, rules_of
from cp.users import User
from mesh.codec import decode
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import View

WRITES = ["CREATE", "UPDATE", "DELETE"]
Json = dict[str, Any]


def rules(*given: Json) -> Rules:
    role: Rules = decode({"type": "AccessRole", "name": "r", "rules": list(given)}).spec.rules
    return role


def permission(
    ref: Json | None, *sources: Json, name: str = "p", mesh: str = "default", **more: Any
) -> Resource:
    spec: Json = {"from": [{"targetRef": each, "default": {"action": "Allow"}} for each in sources], **more}
    if ref is not None:
        spec["targetRef"] = ref
    return decode({"type": "MeshTrafficPermission", "mesh": mesh, "name": name, "spec": spec})


def timeout(ref: Json, to: list[Json], sources: list[Json]) -> Resource:
    conf = {"default": {"connectionTimeout": "1s"}}
    spec = {
        "targetRef": ref,
        "to": [{"targetRef": each} | conf for each in to],
        "from": [{"targetRef": each} | conf for each in sources],
    }
    return decode({"type": "MeshTimeout", "mesh": "default", "name": "t", "spec": spec})


def service(name: str) -> Json:
    return {"kind": "MeshService", "name": name}


MESH = {"kind": "Mesh"}


def created(given: Rules, resource: Resource) -> bool:
    return roles.may_write(given, Edit(None, resource))


# --- whose rules --------------------------------------------------------------------------


def test_roles_are_given_by_name_and_by_group() -> None:
    view = View.of(
        [
            decode({"type": "AccessRole", "name": "a", "rules": [{"access": ["CREATE"]}]}),
            decode({"type": "AccessRole", "name": "b", "rules": [{"access": ["DELETE"]}]}),
            decode(
                {
                    "type": "AccessRoleBinding",
                    "name": "one",
                    "subjects": [{"type": "User", "name": "jane"}, {"type": "Group", "name": "ops"}],
                    "roles": ["a", "absent"],
                }
            ),
            decode(
                {
                    "type": "AccessRoleBinding",
                    "name": "two",
                    "subjects": [{"type": "Group", "name": "ops"}],
                    "roles": ["b", "a"],
                }
            ),
        ]
    )

    def granted(user: User) -> list[str]:
        return [access for rule in rules_of(view, user) for access in rule.access]

    assert granted(User("jane")) == ["CREATE"]
    assert granted(User("joe", ("ops",))) == ["CREATE", "DELETE"]
    assert granted(User("ops")) == []  # a user is no group
    assert granted(User("x", ("jane",))) == []  # and a group no user


# --- kinds, names, meshes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, True),
        ({"types": ["MeshTrafficPermission"]}, True),
        ({"types": ["MeshTimeout"]}, False),
        ({"names": ["p", "q"]}, True),
        ({"names": ["q"]}, False),
        ({"mesh": "default"}, True),
        ({"mesh": "*"}, True),
        ({"mesh": "demo"}, False),
        ({"access": ["UPDATE", "DELETE"]}, False),
    ],
)
def test_what_a_rule_covers(rule: Json, allowed: bool) -> None:
    assert created(rules({"access": WRITES} | rule), permission(MESH, MESH)) == allowed


def test_a_rule_of_a_mesh_is_not_for_what_belongs_to_none() -> None:
    mesh = decode({"type": "Mesh", "name": "demo"})
    assert not created(rules({"access": WRITES, "mesh": "demo"}), mesh)
    assert not created(rules({"access": WRITES, "mesh": "*"}), mesh)
    assert created(rules({"access": WRITES, "types": ["Mesh"], "names": ["demo"]}), mesh)


def test_a_change_needs_the_right_to_both_sides() -> None:
    mine = rules({"access": ["UPDATE"], "when": [{"targetRef": service("backend")}]})
    ours, theirs = permission(service("backend"), MESH), permission(service("web"), MESH)
    assert roles.may_write(mine, Edit(ours, ours))
    assert not roles.may_write(mine, Edit(ours, theirs))
    assert not roles.may_write(mine, Edit(theirs, ours))
    assert not roles.may_write(mine, Edit(None, ours))
    assert not roles.may_write(mine, Edit(ours, None))


# --- content ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("qualifier", "ref", "allowed"),
    [
        ({"kind": "MeshService", "name": "backend"}, {"kind": "MeshService", "name": "backend"}, True),
        ({"kind": "MeshService", "name": "backend"}, {"kind": "MeshService", "name": "web"}, False),
        ({"kind": "MeshService"}, {"kind": "MeshService", "name": "web"}, True),
        ({"kind": "MeshService", "name": "backend"}, {"kind": "Mesh"}, False),
        (
            {"kind": "MeshSubset", "tags": {"a": "1"}},
            {"kind": "MeshSubset", "tags": {"a": "1", "b": "2"}},
            True,
        ),
        ({"kind": "MeshSubset", "tags": {"a": "1"}}, {"kind": "MeshSubset", "tags": {"a": "2"}}, False),
        ({"kind": "MeshSubset", "tags": {"a": "1"}}, {"kind": "MeshSubset"}, False),
        ({"kind": "Dataplane", "labels": {"t": "x"}}, {"kind": "Dataplane", "labels": {"t": "x"}}, True),
        ({"kind": "Dataplane", "labels": {"t": "x"}}, {"kind": "Dataplane", "name": "x"}, False),
        ({"kind": "Mesh"}, None, True),
        ({"kind": "MeshService"}, None, False),
    ],
)
def test_the_target_of_a_policy(qualifier: Json, ref: Json | None, allowed: bool) -> None:
    found = rules({"access": WRITES, "when": [{"targetRef": qualifier}]})
    assert created(found, permission(ref, MESH)) == allowed


def test_every_entry_has_to_be_allowed() -> None:
    from_web = rules({"access": WRITES, "when": [{"from": {"targetRef": service("web")}}]})
    assert created(from_web, permission(MESH, service("web")))
    assert created(from_web, permission(service("anything"), service("web")))
    assert not created(from_web, permission(MESH, service("web"), service("api")))


def test_two_halves_of_a_right_are_not_one() -> None:
    """One qualifier allows the destination, another the source: nobody gave the right to both."""
    top, a, b = service("top"), service("a"), service("b")
    halves = rules(
        {
            "access": WRITES,
            "when": [
                {"targetRef": top, "to": {"targetRef": a}, "from": {"targetRef": b}},
                {"targetRef": top, "to": {"targetRef": b}, "from": {"targetRef": a}},
            ],
        }
    )
    assert created(halves, timeout(top, [a], [b]))
    assert created(halves, timeout(top, [b], [a]))
    assert not created(halves, timeout(top, [a], [a]))
    assert not created(halves, timeout(top, [a, b], [a, b]))


def test_rules_of_a_policy_name_no_source() -> None:
    policy = permission(
        MESH, rules=[{"default": {"allow": [{"spiffeID": {"type": "Prefix", "value": "spiffe://"}}]}}]
    )
    assert created(rules({"access": WRITES, "when": [{"targetRef": MESH}]}), policy)
    assert not created(rules({"access": WRITES, "when": [{"from": {"targetRef": MESH}}]}), policy)


def test_a_qualifier_of_what_the_kind_does_not_have() -> None:
    trace = decode({"type": "MeshTrace", "mesh": "default", "name": "t", "spec": {"targetRef": MESH}})
    mesh = decode({"type": "Mesh", "name": "m"})
    for qualifier in (
        {"to": {"targetRef": MESH}},
        {"from": {"targetRef": MESH}},
        {"sources": {"match": {"a": "b"}}},
        {"selectors": {"match": {"a": "b"}}},
        {"dpToken": {"tags": [{"name": "a", "value": "b"}]}},
    ):
        found = rules({"access": WRITES, "when": [qualifier]})
        assert not created(found, trace)
        assert not created(found, mesh)


def test_selectors_of_a_gateway_and_wildcards() -> None:
    def gateway(*services: str) -> Resource:
        selectors = [{"match": {"kuma.io/service": each}} for each in services]
        return decode({"type": "MeshGateway", "mesh": "default", "name": "g", "selectors": selectors})

    match = {"match": {"kuma.io/service": "*_orders_*"}}
    found = rules({"access": WRITES, "types": ["MeshGateway"], "when": [{"selectors": match}]})
    assert created(found, gateway("web_orders_1", "api_orders_2"))
    assert not created(found, gateway("web_orders_1", "web_users_1"))
    assert not created(found, gateway())


@settings(max_examples=300, derandomize=True, deadline=None)
@given(pattern=st.text("ab*", max_size=8), text=st.text("ab", max_size=8))
def test_wildcards_are_those_of_a_shell(pattern: str, text: str) -> None:
    from fnmatch import fnmatchcase

    assert roles._matches(pattern, text) == fnmatchcase(text, pattern)


# --- tokens, secrets, looks ---------------------------------------------------------------


def test_tokens() -> None:
    plain = rules({"access": ["GENERATE_DATAPLANE_TOKEN"], "mesh": "demo", "types": ["Mesh"]})
    assert roles.may_generate(plain, "GENERATE_DATAPLANE_TOKEN", "demo")
    assert not roles.may_generate(plain, "GENERATE_DATAPLANE_TOKEN", "default")
    assert not roles.may_generate(plain, "GENERATE_USER_TOKEN")
    web = {"dpToken": {"tags": [{"name": "kuma.io/service", "value": "web"}]}}
    tagged = rules({"access": ["GENERATE_DATAPLANE_TOKEN"], "when": [web]})

    def may(tags: dict[str, list[str]]) -> bool:
        return roles.may_generate(tagged, "GENERATE_DATAPLANE_TOKEN", "default", tags)

    assert may({"kuma.io/service": ["web"]})
    assert may({"kuma.io/service": ["web"], "version": ["2"]})
    assert not may({})  # a token without the tag is good for any value of it
    assert not may({"kuma.io/service": []})
    assert not may({"kuma.io/service": ["web", "api"]})


def test_secrets_are_seen_by_those_who_write_them() -> None:
    kind = KINDS["Secret"]
    key, other = ResourceKey("Secret", "default", "s"), ResourceKey("Secret", "default", "t")
    assert roles.may_read_secret(rules({"access": ["CREATE"]}), kind, key)
    one = rules({"access": ["UPDATE"], "types": ["Secret"], "names": ["s"]})
    assert roles.may_read_secret(one, kind, key)
    assert not roles.may_read_secret(one, kind, other)
    assert not roles.may_read_secret(one, kind, ResourceKey("Secret", "default", ""))
    assert not roles.may_read_secret(rules({"access": ["GENERATE_USER_TOKEN"]}), kind, key)


def test_looks() -> None:
    stats = rules({"access": ["VIEW_STATS"], "mesh": "default", "names": ["web-1"]})
    dataplane = KINDS["Dataplane"]
    assert roles.may_view(stats, "VIEW_STATS", dataplane, ResourceKey("Dataplane", "default", "web-1"))
    assert not roles.may_view(stats, "VIEW_STATS", dataplane, ResourceKey("Dataplane", "default", "web-2"))
    assert not roles.may_view(stats, "VIEW_CLUSTERS", dataplane, ResourceKey("Dataplane", "default", "web-1"))


def test_who_may_write_everything_may_operate_the_cluster() -> None:
    assert roles.may_everything(rules({"access": WRITES}))
    assert not roles.may_everything(rules({"access": WRITES, "mesh": "*"}))
    assert not roles.may_everything(rules({"access": ["CREATE", "UPDATE"]}))


# --- whatever the rules -------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b"])
REFS = st.one_of(st.just(MESH), NAMES.map(service))
QUALIFIERS = st.fixed_dictionaries(
    {},
    optional={
        "targetRef": REFS,
        "to": REFS.map(lambda ref: {"targetRef": ref}),
        "from": REFS.map(lambda ref: {"targetRef": ref}),
    },
).filter(bool)
RULES = st.fixed_dictionaries(
    {"access": st.just(WRITES)},
    optional={
        "when": st.lists(QUALIFIERS, min_size=1, max_size=3),
        "mesh": st.sampled_from(["default", "*", "demo"]),
        "types": st.sampled_from([["MeshTimeout"], ["Mesh"]]),
        "names": st.sampled_from([["t"], ["u"]]),
    },
)
TIMEOUTS = st.builds(timeout, REFS, st.lists(REFS, max_size=3), st.lists(REFS, max_size=3))


@settings(max_examples=200)
@given(given=st.lists(RULES, min_size=1, max_size=3), more=RULES, policy=TIMEOUTS)
def test_a_further_rule_takes_nothing_away(given: list[Json], more: Json, policy: Resource) -> None:
    assert created(rules(*given, more), policy) == (
        created(rules(*given), policy) or created(rules(more), policy)
    )


@settings(max_examples=300)
@given(when=st.lists(QUALIFIERS, min_size=1, max_size=3), policy=TIMEOUTS)
def test_each_pair_of_entries_is_covered_by_one_qualifier(when: list[Json], policy: Resource) -> None:
    """What is granted is what would be granted to each smallest part of the policy by itself."""

    def document(ref: Any) -> Json:
        return {"kind": ref.kind} | ({"name": ref.name} if ref.name else {})

    def covers(qualifier: Json, to: Json | None, source: Json | None) -> bool:
        wanted = (
            ("targetRef", qualifier.get("targetRef"), document(policy.spec.target_ref)),
            ("to", qualifier.get("to", {}).get("targetRef"), to),
            ("from", qualifier.get("from", {}).get("targetRef"), source),
        )
        return all(match is None or ref is None or match == ref for _, match, ref in wanted)

    pairs = [
        (to, source)
        for to in [document(each.target_ref) for each in policy.spec.to] or [None]
        for source in [document(each.target_ref) for each in policy.spec.from_] or [None]
    ]
    naive = all(any(covers(qualifier, *pair) for qualifier in when) for pair in pairs)
    assert created(rules({"access": WRITES, "when": when}), policy) == naive
