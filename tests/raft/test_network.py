"""The simulated network does to messages what it is told, and repeats it from a seed."""

from __future__ import annotations

import random

from chaos.sim.network import Network, Weather

ABC = ["A", "B", "C"]


def network(seed: int = 1, **weather: float) -> Network:
    rng = random.Random(seed)
    made = Network(lambda link: rng)
    made.weather = Weather(**weather)
    return made


def arrivals(network: Network, until: float = 10.0) -> list[tuple[str, str, int]]:
    network.now = until
    return [(source, target, message["n"]) for source, target, message in network.due()]


def test_messages_take_time_and_arrive_in_order() -> None:
    net = network()
    for n in range(50):
        net.send("A", "B", {"n": n})
    assert arrivals(net, 0.0005) == []
    assert [n for _, _, n in arrivals(net)] == list(range(50))


def test_reordering_loss_and_duplication_are_drawn() -> None:
    net = network(reorder=1.0, loss=0.3, duplicate=0.3)
    for n in range(100):
        net.send("A", "B", {"n": n})
    got = [n for _, _, n in arrivals(net)]
    assert got != sorted(got) and len(set(got)) < 100 and len(got) > len(set(got))


def test_a_cut_is_one_way_and_drops_what_is_under_way() -> None:
    net = network()
    net.send("A", "B", {"n": 1})
    net.cut.add(("A", "B"))
    net.send("A", "B", {"n": 2})
    net.send("B", "A", {"n": 3})
    assert arrivals(net) == [("B", "A", 3)]


def test_isolate_split_and_heal() -> None:
    net = network()
    net.isolate("A", ABC)
    assert net.cut == {("A", "B"), ("B", "A"), ("A", "C"), ("C", "A")}
    net.heal()
    net.split(["A", "B"], ABC)
    assert net.cut == {("A", "C"), ("C", "A"), ("B", "C"), ("C", "B")}


def test_a_slow_link_holds_messages_across_elections() -> None:
    net = network(slow_min_s=2.0, slow_max_s=3.0)
    net.slow.add(("A", "B"))
    net.send("A", "B", {"n": 1})
    assert arrivals(net, 1.9) == [] and arrivals(net, 3.1) == [("A", "B", 1)]


def test_held_messages_can_be_injected_later() -> None:
    net = network()
    net.hold = lambda source, target, message: message["n"] == 1
    net.send("A", "B", {"n": 1})
    net.send("A", "B", {"n": 2})
    assert arrivals(net) == [("A", "B", 2)]
    net.inject(*net.held[0])
    assert arrivals(net) == [("A", "B", 1)]


def test_receivers_share_nothing_with_the_sender() -> None:
    net = network()
    message = {"n": 1, "list": [1]}
    net.send("A", "B", message)
    message["list"] = [2]
    net.now = 1.0
    assert net.due()[0][2] == {"n": 1, "list": (1,)}


def test_frames_come_in_order_or_break_their_connection() -> None:
    net = network(loss=1.0, reorder=1.0, duplicate=1.0)
    for n in range(20):
        net.send_frame("A", "B", ("frame", n))
    net.now = 1.0
    assert [frame[1] for _, _, frame in net.due()] == list(range(20))
    net.cut.add(("A", "B"))
    net.send_frame("A", "B", ("lost",))
    assert net.broken == {("A", "B")}
    net.cut.clear()
    net.send_frame("A", "B", ("lost as well: the connection is not made anew yet",))
    net.disconnect("A", "B")
    net.send_frame("A", "B", ("kept",))
    net.now = 2.0
    assert [frame for _, _, frame in net.due()] == [("kept",)] and not net.broken


def test_in_a_ring_each_reaches_its_neighbours() -> None:
    net = network()
    net.ring(list("ABCDE"))
    reached = {one: {other for other in "ABCDE" if (one, other) not in net.cut} for one in "ABCDE"}
    assert reached["A"] == {"E", "A", "B"} and reached["C"] == {"B", "C", "D"}


def test_a_seed_repeats_the_weather() -> None:
    runs = []
    for _ in range(2):
        net = network(seed=7, loss=0.2, reorder=0.5, duplicate=0.2)
        for n in range(50):
            net.send("A", "B", {"n": n})
        runs.append(arrivals(net))
    assert runs[0] == runs[1]
