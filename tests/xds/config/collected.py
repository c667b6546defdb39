"""Configurations that tests derive, kept so that a real Envoy can judge them all (test_accepted.py).

Nothing is kept unless the environment names a folder. Equal configurations are kept once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xds.encode import encode
from xds.types import Encoded, Snapshot

FOLDER = "RAFTMESH_TESTS_KEEP_CONFIGURATIONS"


class Kept(NamedTuple):
    """A configuration, and the first test that derived it."""

    test: str
    state: dict[str, dict[str, Encoded]]


def keep(snapshot: Snapshot) -> None:
    """Keep what a proxy is sent, if the environment asks for it."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    state = {
        type_url: {name: base64.b64encode(resources[name].body).decode() for name in sorted(resources)}
        for type_url, resources in snapshot.items()
    }
    text = json.dumps(state, sort_keys=True)
    path = Path(folder) / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if not path.exists():
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        path.write_text(json.dumps({"test": test, "state": state}))


def kept(folder: Path) -> Iterator[Kept]:
    """What was kept, by test."""
    documents = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    for document in sorted(documents, key=lambda each: (each["test"], json.dumps(each["state"]))):
        yield Kept(
            document["test"],
            {
                type_url: {
                    name: encode(type_url, name, base64.b64decode(body)) for name, body in found.items()
                }
                for type_url, found in document["state"].items()
            },
        )
