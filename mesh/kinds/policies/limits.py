"""Bounds of policy documents that no schema states, each with its reason."""

from __future__ import annotations

HOSTNAME_CHARS_MAX = 253
"""RFC 1035: what fits into a DNS name."""

RATE_INTERVAL_MIN_NS = 50_000_000
"""Envoy refuses token buckets that are refilled more often than every 50 ms."""
