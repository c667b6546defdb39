"""Holdings: layers, stacks of them, and the names that changed."""

from __future__ import annotations

from xds.config.backends import Item
from xds.config.holdings import Change, Layer, Stack, snapshot_of
from xds.config.transparent import passthrough_cluster
from xds.encode import encode
from xds.types import CLUSTER, LISTENER, SEND_ORDER

ONE, TWO = passthrough_cluster.query("inbound", 4, False), passthrough_cluster.query("inbound", 6, False)


def test_a_plan_tells_what_came_and_went() -> None:
    layer = Layer()
    came, went = layer.plan([Item(CLUSTER, "a", ONE), Item(CLUSTER, "b", ONE)])
    assert (set(came), set(went)) == ({(CLUSTER, "a"), (CLUSTER, "b")}, set())
    came, went = layer.plan([Item(CLUSTER, "a", TWO)])
    assert came == {(CLUSTER, "a"): TWO}
    assert went == {(CLUSTER, "a"): ONE, (CLUSTER, "b"): ONE}


def test_of_two_items_with_one_name_the_first_counts() -> None:
    came, _ = Layer().plan([Item(CLUSTER, "a", ONE), Item(CLUSTER, "a", TWO)])
    assert came == {(CLUSTER, "a"): ONE}


def test_equal_content_is_no_change() -> None:
    layer = Layer()
    assert layer.put((CLUSTER, "a"), encode(CLUSTER, "a", b""))
    assert not layer.put((CLUSTER, "a"), encode(CLUSTER, "a", b""))
    assert layer.drop((CLUSTER, "a"))
    assert not layer.drop((CLUSTER, "a"))


def test_the_upper_layer_hides_the_lower_and_lets_it_show_again() -> None:
    upper, lower = Layer(), Layer()
    mine, theirs = encode(CLUSTER, "a", b"\x0a\x01x"), encode(CLUSTER, "a", b"\x0a\x01y")
    lower.put((CLUSTER, "a"), theirs)
    lower.put((CLUSTER, "b"), encode(CLUSTER, "b", b""))
    stack = Stack([upper, lower], CLUSTER)
    assert stack["a"] == theirs
    upper.put((CLUSTER, "a"), mine)
    assert stack["a"] == mine
    assert sorted(stack) == ["a", "b"]
    assert len(stack) == 2
    assert "c" not in stack and stack.get("c") is None
    upper.drop((CLUSTER, "a"))
    assert stack["a"] == theirs


def test_a_snapshot_is_live() -> None:
    layer = Layer()
    snapshot = snapshot_of([layer])
    layer.put((LISTENER, "l"), encode(LISTENER, "l", b""))
    assert list(snapshot[LISTENER]) == ["l"]
    assert set(SEND_ORDER) <= set(snapshot)


def test_deltas_are_in_the_order_of_sending() -> None:
    change = Change()
    change.upserts[LISTENER, "l"] = encode(LISTENER, "l", b"")
    change.upserts[CLUSTER, "c"] = encode(CLUSTER, "c", b"")
    change.removed[CLUSTER, "gone"] = None
    cluster, listener = change.deltas()
    assert (cluster.type_url, cluster.removed) == (CLUSTER, ("gone",))
    assert listener.upserts[0].name == "l"
    assert Change().deltas() == []
