"""Suite `api`: requests to a control plane with given resources, and what it answers."""

from __future__ import annotations

import json

from tests.conformance.cases import Action, Case, SuiteScore, api_cases
from tests.conformance.policy_cases import differences, suite_folder
from tests.conformance.seam import GLOBAL, Answer, Seam, resource_of, running, zero_times


async def test_api() -> None:
    score = SuiteScore("api")
    cases = list(api_cases(suite_folder("api")))
    on_global = [case for case in cases if "/hostnames/global/" in f"/{case.name}"]
    async with running() as zone:
        await replay(zone, [case for case in cases if case not in on_global], score)
    async with running(**GLOBAL) as above:
        await replay(above, on_global, score)
    score.finish()


async def replay(seam: Seam, cases: list[Case], score: SuiteScore) -> None:
    """Replay cases one after the other, each from an empty log."""
    for case in cases:
        if case.legacy:
            score.skip(case.legacy)
        else:
            score.judge(case.name, await _faults(seam, case))


async def _faults(seam: Seam, case: Case) -> list[str]:
    await seam.clear()
    await seam.preload([resource_of(document) for document in case.documents])
    faults: list[str] = []
    for action in case.actions:
        answer = await seam.call(action.method, action.path, action.body)
        faults += [f"  {action.method} {action.path}: {fault}" for fault in _differing(answer, action)]
    return faults


def _differing(answer: Answer, action: Action) -> list[str]:
    if answer.status != action.status:
        return [f"got {answer.status}, wanted {action.status}: {answer.text[:300]}"]
    wanted = json.loads(zero_times(json.dumps(action.golden)))
    got = json.loads(answer.text)
    return list(differences(got, wanted)) if got != wanted else []
