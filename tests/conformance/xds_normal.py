"""What the suite `xds` leaves out of the comparison: only what its description names."""

from __future__ import annotations

import json
import re
from typing import Any

Json = dict[str, Any]

_IP = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_ADMIN_NAMES = ("kuma:envoy:admin", "kuma:readiness", "system_envoy_admin", "system_probe_readiness")
_ADMIN_ADDRESS = {"socketAddress": {"address": "ADMIN_REDACTED", "portValue": 0}}


def normal_xds(xds: Json) -> Json:
    """The resources of a proxy, by type URL and name."""
    result: Json = json.loads(_without_addresses(_redacted(xds)))
    for resources in result.values():
        for name in [name for name in resources if "dynamicconfig" in name]:
            del resources[name]
        for name in _ADMIN_NAMES:
            if name in resources:
                _hide_addresses(resources[name])
    return {key: resources for key, resources in result.items() if resources}


def normal_diff(operations: list[Json]) -> list[Json]:
    """The operations that shadow policies come to, by path, removals first."""
    kept = [
        {**each, "value": _redacted(each.get("value"))}
        for each in operations
        if each["op"] != "test" and not each["path"].endswith("/maxDirectResponseBodySizeBytes")
    ]
    hidden: list[Json] = json.loads(_without_addresses(kept))
    return sorted(hidden, key=lambda each: (each["path"], each["op"] == "add"))


def _without_addresses(value: Any) -> str:
    return _IP.sub("IP_REDACTED", json.dumps(value, sort_keys=True))


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _redacted(item) for key, item in value.items() if key != "dnsLookupFamily"}
    if "trustBundle" in found:
        found["trustBundle"] = {"inlineBytes": "CERT_REDACTED"}
    if "statPrefix" in found:
        found["statPrefix"] = "STAT_PREFIX_REDACTED"
    if isinstance(found.get("address"), str) and ":" in found["address"]:
        found["address"] = "IP_REDACTED"
    return found


def _hide_addresses(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _hide_addresses(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "address" and isinstance(item, dict):
                value[key] = _ADMIN_ADDRESS
            else:
                _hide_addresses(item)
