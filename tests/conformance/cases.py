"""What the adapters over HTTP share: reading cases, telling what is out of scope, keeping the score."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.known_failures import KNOWN_FAILURES
from tests.conformance.policy_cases import LEGACY_KINDS, Score, differences, trimmed

LEGACY_PATHS = {
    "circuit-breakers": "CircuitBreaker",
    "external-services": "ExternalService",
    "fault-injections": "FaultInjection",
    "health-checks": "HealthCheck",
    "meshgatewayroutes": "MeshGatewayRoute",
    "proxytemplates": "ProxyTemplate",
    "rate-limits": "RateLimit",
    "retries": "Retry",
    "timeouts": "Timeout",
    "traffic-logs": "TrafficLog",
    "traffic-permissions": "TrafficPermission",
    "traffic-routes": "TrafficRoute",
    "traffic-traces": "TrafficTrace",
    "virtual-outbounds": "VirtualOutbound",
}
_ACTION = re.compile(r"^#(?P<path>/\S+) (?P<status>\d{3})(?: method=(?P<method>[A-Z]+))?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Action:
    """One request of a case, and what is to come back."""

    method: str
    path: str
    status: int
    body: str | None
    golden: Any


@dataclass(frozen=True)
class Case:
    """Resources to begin with, and requests in order."""

    name: str
    documents: list[dict[str, Any]]
    actions: list[Action]

    @property
    def legacy(self) -> str:
        """The legacy kind that it needs, "" for none."""
        paths = {part for action in self.actions for part in re.split(r"[/?]", action.path)}
        bodies = [yaml.safe_load(action.body) for action in self.actions if action.body]
        return legacy_kind([*self.documents, *bodies], paths)


def legacy_kind(documents: Iterable[Any], path_parts: Iterable[str] = ()) -> str:
    """The first legacy kind among documents and parts of paths, "" for none."""
    kinds = {document.get("type") for document in documents if isinstance(document, dict)}
    kinds |= {LEGACY_PATHS.get(part) for part in path_parts}
    return min(kinds & LEGACY_KINDS, default="")


def read_documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text, times kept as they are written, white space at their ends cut off."""
    return [document for document in yaml.load_all(trimmed(text), _Loader) if document]


class _Loader(yaml.SafeLoader):
    """YAML whose times remain text."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def api_cases(folder: Path) -> Iterator[Case]:
    """The cases of a folder and those under it, in order of their paths."""
    for given in sorted(folder.glob("**/*.input.yaml")):
        text = given.read_text()
        stem = given.name.removesuffix(".input.yaml")
        found = list(_ACTION.finditer(text))
        actions = [
            _action(given.parent / (stem if len(found) == 1 else f"{stem}_{number:02d}"), action)
            for number, action in enumerate(found)
        ]
        yield Case(str(given.parent.relative_to(folder) / stem), read_documents(text), actions)


def _action(base: Path, match: re.Match[str]) -> Action:
    request = base.with_name(f"{base.name}.request.json")
    golden = base.with_name(f"{base.name}.golden.json")
    body = request.read_text() if request.exists() else None
    method = match["method"] or "GET"
    return Action(method, match["path"], int(match["status"]), body, json.loads(golden.read_text()))


class SuiteScore(Score):
    """A Score that knows which cases may fail."""

    def __init__(self, suite: str) -> None:
        super().__init__(suite)
        self._known = KNOWN_FAILURES.get(suite, {})
        self._known_failed: list[str] = []

    def judge(self, case: str, faults: list[str]) -> None:
        """Count a case by what was wrong with it."""
        if not faults and case in self._known:
            self.failures.append(f"{case} passes: take it off the known failures")
        elif not faults:
            self.passed += 1
        elif case in self._known:
            self._known_failed.append(case)
        else:
            self.failures.append("\n".join([case, *faults]))

    def check(self, case: str, got: Any, wanted: Any) -> None:
        self.judge(case, list(differences(got, wanted)) if got != wanted else [])

    def finish(self) -> None:
        total = self.passed + len(self.failures) + len(self._known_failed)
        outside = "".join(
            f", out of scope: {count} of {kind}" for kind, count in sorted(self.outside.items())
        )
        known = f", known to fail: {len(self._known_failed)}" if self._known_failed else ""
        print(f"\n{self.suite}: passed {self.passed} of {total}{known}{outside}")
        assert not self.failures, "\n\n".join(self.failures)
        assert total or self.outside, f"{self.suite}: no case found"
