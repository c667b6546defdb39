"""MeshCircuitBreaker: limits per destination, and outlier detection.

A detector that is not configured is not enforced (Envoy would enforce some by default); a configured
one always is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds.config import cluster
from xds.config.confs import conf_of
from xds.config.draft import Draft, duration, wrapped
from xds.config.percent import number

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.inbound import Inbound
    from xds.config.outbound import Backend

KIND = "MeshCircuitBreaker"
_LIMITS = ("max_connections", "max_connection_pools", "max_pending_requests", "max_retries", "max_requests")
_ENFORCED = 100


def edit_backend(draft: Draft, backend: Backend | External) -> None:
    """Limits and outlier detection of a destination."""
    _edit(draft, conf_of(KIND, backend.confs))


def edit_inbound_cluster(draft: Draft, inbound: Inbound) -> None:
    """Limits and outlier detection of the application."""
    _edit(draft, conf_of(KIND, inbound.confs))


def _edit(draft: Draft, conf: Any) -> None:
    if conf is None:
        return
    if conf.connection_limits is not None:
        for name in _LIMITS:
            cluster.set_wrapped(cluster.thresholds(draft), name, getattr(conf.connection_limits, name))
    found = conf.outlier_detection
    if found is None or found.disabled:
        return
    draft["outlier_detection"] = _outlier_detection(found)
    if found.healthy_panic_threshold is not None:
        cluster.set_panic_threshold(draft, number(found.healthy_panic_threshold))


def _outlier_detection(found: Any) -> Draft:
    draft: Draft = {}
    if found.interval is not None:
        draft["interval"] = duration(found.interval)
    if found.base_ejection_time is not None:
        draft["base_ejection_time"] = duration(found.base_ejection_time)
    cluster.set_wrapped(draft, "max_ejection_percent", found.max_ejection_percent)
    if found.split_external_and_local_errors is not None:
        draft["split_external_local_origin_errors"] = found.split_external_and_local_errors
    detectors = found.detectors
    _consecutive(draft, getattr(detectors, "total_failures", None), "consecutive_5xx")
    _consecutive(draft, getattr(detectors, "gateway_failures", None), "consecutive_gateway_failure")
    _consecutive(draft, getattr(detectors, "local_origin_failures", None), "consecutive_local_origin_failure")
    if detectors is not None:
        _success_rate(draft, detectors.success_rate)
        _failure_percentage(draft, detectors.failure_percentage)
    return draft


def _consecutive(draft: Draft, detector: Any, name: str) -> None:
    consecutive = detector.consecutive if detector is not None else None
    draft[f"enforcing_{name}"] = wrapped(0 if consecutive is None else _ENFORCED)
    cluster.set_wrapped(draft, name, consecutive)


def _success_rate(draft: Draft, detector: Any) -> None:
    enforced = wrapped(0 if detector is None else _ENFORCED)
    draft["enforcing_success_rate"] = draft["enforcing_local_origin_success_rate"] = enforced
    if detector is None:
        return
    cluster.set_wrapped(draft, "success_rate_minimum_hosts", detector.minimum_hosts)
    cluster.set_wrapped(draft, "success_rate_request_volume", detector.request_volume)
    if detector.standard_deviation_factor is not None:
        factor = round(number(detector.standard_deviation_factor) * 1000)
        draft["success_rate_stdev_factor"] = wrapped(factor)


def _failure_percentage(draft: Draft, detector: Any) -> None:
    enforced = wrapped(0 if detector is None else _ENFORCED)
    draft["enforcing_failure_percentage"] = enforced
    draft["enforcing_failure_percentage_local_origin"] = enforced
    if detector is None:
        return
    cluster.set_wrapped(draft, "failure_percentage_minimum_hosts", detector.minimum_hosts)
    cluster.set_wrapped(draft, "failure_percentage_request_volume", detector.request_volume)
    cluster.set_wrapped(draft, "failure_percentage_threshold", detector.threshold)
