"""Documents of a folder of conformance cases: all can be read, and answers are written exactly so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.codec import decode, decode_value, encode_value, to_document
from mesh.errors import BadRequest, Invalid
from mesh.registry import KINDS

_CASES = Path(
    os.environ.get("RAFTMESH_CONFORMANCE", Path(__file__).parents[2] / "../shared/conformance/cases")
)
# Raw HTTP answers, which are no YAML.
_NOT_DOCUMENTS = "labels"

pytestmark = pytest.mark.skipif(not _CASES.is_dir(), reason=f"no conformance cases: {_CASES} is not a folder")


def documents(*patterns: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for pattern in patterns:
        for path in sorted(_CASES.rglob(pattern)):
            if path.parent.name == _NOT_DOCUMENTS and ".golden." in path.name:
                continue
            for document in yaml.load_all(path.read_text(), Loader=_LOADER):
                yield from ((path, item) for item in resources(document))


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def resources(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") in KINDS and "name" in value:
            yield value
        else:
            for item in value.values():
                yield from resources(item)
    elif isinstance(value, list):
        for item in value:
            yield from resources(item)


def test_all_inputs_can_be_read_and_stored() -> None:
    count, refused = 0, []
    for path, document in documents("*.input.yaml", "*.policies.yaml", "*.dataplane.yaml", "*.request.json"):
        try:
            resource = decode(document)
        except (Invalid, BadRequest) as error:
            refused.append((path.name, str(error)))
            continue
        count += 1
        assert decode_value(resource.key, encode_value(resource), 0, 0, 0) == resource, path
    print(f"documents: passed {count} of {count + len(refused)}")
    assert count
    assert not refused


def test_answers_are_written_exactly_so() -> None:
    passed, failed = 0, []
    for path, golden in documents("api/crud/*.golden.json", "kds/**/*.golden.yaml"):
        if "creationTime" not in golden:
            continue
        written = json.loads(json.dumps(to_document(decode(golden))))
        if written == golden:
            passed += 1
        else:
            failed.append((path.name, golden["name"]))
    print(f"documents of answers: passed {passed} of {passed + len(failed)}")
    assert passed
    assert not failed
