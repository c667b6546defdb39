"""Random values of the store's vocabulary, over few keys so that they collide."""

from __future__ import annotations

from hypothesis import strategies as st

from raftstore.types import (
    Absent,
    AbsentScope,
    Delete,
    DeleteScope,
    Exists,
    Key,
    Put,
    Scope,
    Txn,
    VersionIs,
)

kinds = st.sampled_from(["Mesh", "Dataplane"])
meshes = st.sampled_from(["", "default", "other"])
keys = st.builds(Key, kinds, meshes, st.sampled_from(["a", "b", "ü"]))
scopes = st.builds(Scope, st.none() | kinds, st.none() | meshes)
writes = st.one_of(
    st.builds(Put, keys, st.binary(max_size=8)),
    st.builds(Delete, keys),
    st.builds(DeleteScope, scopes),
)
guards = st.one_of(
    st.builds(VersionIs, keys, st.integers(0, 8)),
    st.builds(Exists, keys),
    st.builds(Absent, keys),
    st.builds(AbsentScope, scopes),
)
txns = st.builds(
    Txn,
    st.lists(writes, max_size=4).map(tuple),
    st.lists(guards, max_size=2).map(tuple),
    actor=st.sampled_from(["", "ann"]),
    request_id=st.sampled_from(["", "r1", "r2", "r3", "r4"]),
    cause=st.sampled_from(["", "why"]),
    via=st.sampled_from(["", "n1"]),
)
