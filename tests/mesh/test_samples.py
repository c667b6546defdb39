"""There is a valid sample of every kind that people write, and random ones stay valid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.codec import decode, decode_value, encode_value, to_document
from mesh.kinds.base import Kind
from mesh.validate import validate
from tests.mesh.samples import WRITTEN, is_valid, sample, valid_documents


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.name)
def test_every_sample_is_valid(kind: Kind) -> None:
    assert validate(decode(sample(kind))) == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(WRITTEN).flatmap(valid_documents))
def test_what_is_valid_is_still_so_when_it_was_stored_and_told(document: dict[str, Any]) -> None:
    assert is_valid(document)
    resource = decode(document)
    stored = decode_value(resource.key, encode_value(resource), 7, 1, 2)
    assert (stored.spec, stored.labels) == (resource.spec, resource.labels)
    told = to_document(stored)
    assert is_valid(told)
    assert decode(told).spec == resource.spec
