"""What a proxy has, for humans: the `_config` of the API, and what shadow policies would change of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from mesh import naming
from xds import proto
from xds.config.facts import Client
from xds.config.plan import sidecar_plan
from xds.engine import DerivationFailed, Engine
from xds.types import LISTENER, SECRET, Encoded, Snapshot

Json = dict[str, Any]

IDENTITY_PREFIX = "kri_mid_"


def render(snapshot: Snapshot) -> Json:
    """Type URL -> resource name -> resource as JSON, names in order; keys and certificates hidden."""
    result: Json = {}
    for type_url in sorted(snapshot):
        resources = snapshot[type_url]
        found = {name: _rendered(type_url, resources[name]) for name in sorted(resources)}
        if type_url == LISTENER:
            for name in {naming.admin_name(), naming.admin_name(unified=True)} & found.keys():
                _hide_admin(found[name])
        if type_url == SECRET:
            found = {
                name: _hidden(value) for name, value in found.items() if not name.startswith(IDENTITY_PREFIX)
            }
        if found:
            result[type_url] = found
    return result


def _rendered(type_url: str, resource: Encoded) -> Json:
    return proto.to_json(proto.parse(proto.msg_of_url(type_url), resource.body))


def _hide_admin(value: Any) -> None:
    """Empty the bytes of the certificates inside the admin listener."""
    if isinstance(value, dict):
        if "inlineBytes" in value:
            value["inlineBytes"] = ""
        for inner in value.values():
            _hide_admin(inner)
    elif isinstance(value, list):
        for inner in value:
            _hide_admin(inner)


def _hidden(secret: Json) -> Json:
    """A secret with names in the place of its bytes."""
    for path, text in _HIDDEN.items():
        inner: Any = secret
        for key in path:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.clear()
            inner["inlineBytes"] = base64.b64encode(text.encode()).decode()
    return secret


_HIDDEN = {
    ("tlsCertificate", "certificateChain"): "CERT",
    ("tlsCertificate", "privateKey"): "KEY",
    ("validationContext", "trustedCa"): "CA",
}


def derived(
    engine: Engine, mesh: str, name: str, client: Client, secrets: Mapping[str, Encoded] | None = None
) -> Snapshot | None:
    """What a proxy should have, derived once; None while its Dataplane or Mesh is not known.

    secrets: what its identity provider gave it. Resources that cannot be derived are left out.
    Raises DerivationFailed when the plan itself cannot be.
    """
    plan = engine.get(sidecar_plan, mesh, name, client)
    if plan is None:
        return None
    items = [*plan.items]
    for group in plan.groups:
        items.extend(engine.get(group.derivation, *group.args))
    result: dict[str, dict[str, Encoded]] = {}
    for item in items:
        try:
            resource = engine.get(item.query.derivation, *item.query.args)
        except DerivationFailed:
            continue
        if resource is not None:
            result.setdefault(item.type_url, {}).setdefault(item.name, resource)
    if secrets:
        result.setdefault(SECRET, {}).update(secrets)
    return result
