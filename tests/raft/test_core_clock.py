"""Each core reads its own clock, however calls nest, and threads do not share."""

from __future__ import annotations

from threading import Thread

import pytest

from raftstore.core_clock import Running, now


def test_the_innermost_clock_counts() -> None:
    outer, inner = Running(lambda: 1.0), Running(lambda: 2.0)
    with outer:
        assert now() == 1.0
        with inner, outer:
            assert now() == 1.0
        with inner:
            assert now() == 2.0
        assert now() == 1.0
    with pytest.raises(IndexError):
        now()


def test_an_error_inside_gives_the_clock_back() -> None:
    with pytest.raises(ValueError, match="inside"), Running(lambda: 1.0):
        raise ValueError("inside")
    with pytest.raises(IndexError):
        now()


def test_threads_have_clocks_of_their_own() -> None:
    seen: list[float] = []

    def other() -> None:
        with Running(lambda: 7.0):
            seen.append(now())

    with Running(lambda: 1.0):
        thread = Thread(target=other)
        thread.start()
        thread.join()
        assert now() == 1.0 and seen == [7.0]
