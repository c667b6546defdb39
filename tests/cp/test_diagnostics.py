"""Health and metrics on their own port, and metrics of several workers in one exposition."""

from __future__ import annotations

from cp.diagnostics import merge
from cp.metrics import Metrics
from tests.cp.conftest import Api


async def test_nothing_but_diagnostics_is_there(api: Api) -> None:
    base = f"http://127.0.0.1:{api.worker.ports['diagnostics.serverPort']}"
    for path, status in (
        ("/healthy", 200),
        ("/ready", 200),
        ("/metrics", 200),
        ("/meshes", 404),
        ("/config", 404),
    ):
        async with api.session.get(base + path) as response:
            assert response.status == status, path
    async with api.session.get(base + "/metrics") as response:
        text = await response.text()
    assert "\nleader 1.0" in text
    assert "\nraft_has_quorum 1.0" in text


def test_each_sample_is_under_its_worker() -> None:
    texts = []
    for number in range(2):
        metrics = Metrics()
        metrics.view_index.set(10 + number)
        metrics.store_conflicts.inc(number)
        metrics.store.labels("submit").observe(0.003)
        texts.append((str(number), metrics.expose().decode()))
    merged = merge(texts).decode()
    assert 'view_index{worker="0"} 10.0' in merged
    assert 'view_index{worker="1"} 11.0' in merged
    assert 'store_conflicts_total{worker="1"} 1.0' in merged
    assert 'store_bucket{le="0.005",operation="submit",worker="0"} 1.0' in merged
    assert merged.count("# TYPE view_index gauge") == 1
