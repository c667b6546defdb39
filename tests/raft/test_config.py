"""RaftConfig refuses times that cannot work, naming field, value and remedy."""

from __future__ import annotations

import pytest

from raftstore.config import RaftConfig


def test_the_defaults_are_valid() -> None:
    assert RaftConfig().election_timeout_min_s == 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heartbeat_s": 0}, "heartbeat_s = 0: must be above 0"),
        ({"heartbeat_s": 0.2}, r"election_timeout_min_s = 0.3: must be at least three heartbeats \(0.6 s\)"),
        ({"election_timeout_max_s": 0.4}, r"election_timeout_max_s = 0.4: must be at least 1.5 times"),
        ({"append_batch_bytes": 10}, "append_batch_bytes = 10: is too small"),
        ({"apply_batch": 0}, "apply_batch = 0: must be at least 1"),
        ({"read_timeout_s": 0}, "read_timeout_s = 0: must be above 0"),
    ],
)
def test_impossible_times_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"RaftConfig.{message}"):
        RaftConfig(**fields)  # type: ignore[arg-type]
