"""The judge is judged: a playbook must fail when the session does something else."""

from __future__ import annotations

import pytest

from tests.xds.playbook import CDS, Playbook, Put, Response, Subscribe, delta


def test_a_missing_response_fails_with_an_arrow() -> None:
    with pytest.raises(AssertionError, match=r"-> << Response\(service='CDS', resources='A@2'"):
        bool(Playbook(delta()) >> Put(CDS, "A@1") >> Subscribe(CDS) << Response(CDS, "A@2"))


def test_a_response_that_is_not_in_the_playbook_fails() -> None:
    with pytest.raises(AssertionError, match="happened, but is not in the playbook"):
        bool(Playbook(delta()) >> Put(CDS, "A@1") >> Subscribe(CDS))


def test_an_expectation_too_many_fails() -> None:
    with pytest.raises(AssertionError, match="the session did None"):
        bool(Playbook(delta()) >> Subscribe(CDS) << Response(CDS))
