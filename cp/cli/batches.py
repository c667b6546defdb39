"""Many operations as transactions that the control plane takes: in order, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from cp.limits import TRANSACTION_BYTES_MAX, TRANSACTION_DOCUMENTS_MAX

Operation = dict[str, Any]
_BYTES_MAX = TRANSACTION_BYTES_MAX // 2  # what the store takes counts guards and keys, too


def batches(
    operations: Iterable[Operation],
    *,
    count_max: int = TRANSACTION_DOCUMENTS_MAX,
    bytes_max: int = _BYTES_MAX,
) -> Iterator[list[Operation]]:
    """Operations in order, as many at once as a transaction may have."""
    batch: list[Operation] = []
    size = 0
    for operation in operations:
        weight = len(orjson.dumps(operation))
        if batch and (len(batch) == count_max or size + weight > bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        yield batch
