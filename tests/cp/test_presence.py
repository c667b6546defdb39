from cp.presence import SUBSCRIPTIONS_KEPT, certified, connected, disconnected, may_be_removed


def joined(insight: dict[str, object] | None, subscription: str, now: str = "t1") -> dict[str, object]:
    return {
        "subscriptions": connected(insight, subscription=subscription, instance="cp-1", now=now, version={})
    }


def left(insight: dict[str, object], subscription: str, now: str = "t2") -> dict[str, object] | None:
    subscriptions = disconnected(insight, subscription=subscription, now=now)
    return None if subscriptions is None else {"subscriptions": subscriptions}


def test_a_proxy_that_left_may_be_removed() -> None:
    gone = left(joined(None, "a"), "a")
    assert gone is not None
    assert may_be_removed(gone, subscription="a")


def test_a_proxy_that_came_back_may_not() -> None:
    gone = left(joined(None, "a"), "a")
    back = joined(gone, "b", "t3")
    assert not may_be_removed(back, subscription="a")
    assert not may_be_removed(back, subscription="b")


def test_the_end_of_an_old_stream_says_nothing_of_the_new_one() -> None:
    moved = joined(joined(None, "a"), "b")
    assert left(moved, "a") is None


def test_a_stream_whose_control_plane_died_is_closed_by_the_next() -> None:
    moved = joined(joined(None, "a"), "b", "t9")
    first, second = moved["subscriptions"]  # type: ignore[misc]
    assert first["disconnectTime"] == "t9"
    assert "disconnectTime" not in second


def test_only_the_newest_subscriptions_are_kept() -> None:
    insight = None
    for number in range(10):
        insight = joined(insight, str(number))
    assert insight is not None
    assert [each["id"] for each in insight["subscriptions"]] == ["8", "9"]  # type: ignore[attr-defined]
    assert SUBSCRIPTIONS_KEPT == 2


def test_nothing_is_removed_without_an_insight() -> None:
    assert not may_be_removed(None, subscription="a")
    assert disconnected(None, subscription="a", now="t") is None


def test_each_other_certificate_is_a_regeneration() -> None:
    issued = {
        "issuedBackend": "ca-1",
        "lastCertificateRegeneration": "2026-01-01T00:00:00Z",
        "certificateExpirationTime": "2026-01-02T00:00:00Z",
    }
    first = certified(None, issued, ["ca-1"])
    assert first == {**issued, "supportedBackends": ["ca-1"], "certificateRegenerations": 1}
    assert certified(first, issued, ["ca-1"]) is None
    other = certified(first, issued, ["ca-1", "ca-2"])
    assert other is not None and other["certificateRegenerations"] == 1
    renewed = issued | {"lastCertificateRegeneration": "2026-01-01T20:00:00Z"}
    found = certified(first, renewed, ["ca-1"])
    assert found is not None and found["certificateRegenerations"] == 2
