"""Suite `service-insights`: what is told of the services of a mesh."""

from __future__ import annotations

from tests.conformance.cases import SuiteScore, api_cases
from tests.conformance.policy_cases import suite_folder
from tests.conformance.seam import running
from tests.conformance.test_api import replay


async def test_service_insights() -> None:
    score = SuiteScore("service-insights")
    async with running() as zone:
        await replay(zone, list(api_cases(suite_folder("service-insights"))), score)
    score.finish()
