"""A fault that nobody notices proves nothing."""

from __future__ import annotations

import pytest

from chaos.noticing import Ineffective, noticed


async def test_it_waits_until_the_condition_holds() -> None:
    asked = iter([False, False, True])
    await noticed("the third time", lambda: next(asked))
    assert next(asked, None) is None


async def test_a_condition_may_be_awaited() -> None:
    asked = iter([False, True])

    async def condition() -> bool:
        return next(asked)

    await noticed("the second time", condition)
    assert next(asked, None) is None


async def test_what_does_not_bite_is_an_error_that_says_so() -> None:
    with pytest.raises(Ineffective, match="another replica leads"):
        await noticed("another replica leads", lambda: False, within_s=0.15)
