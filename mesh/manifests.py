"""Kubernetes manifests of resources, for people who keep those.

A manifest's namespace becomes a label, its mesh comes from a label (or, in the old kinds, stands
beside the spec); the spec is the same.
"""

from __future__ import annotations

from typing import Any

from mesh.jsonform import plain, rfc3339
from mesh.kinds.base import Kind
from mesh.registry import KINDS
from mesh.resource import DISPLAY_NAME, K8S_NAMESPACE, MESH, Resource

DEFAULT_MESH = "default"
SECRET_TYPES = {"Secret": "system.kuma.io/secret", "GlobalSecret": "system.kuma.io/global-secret"}
_GROUP = "kuma.io/v1alpha1"


def from_kubernetes(manifest: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The flat form of a manifest. Its namespace becomes a label, its mesh comes from a label."""
    metadata = manifest.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    labels = metadata.get("labels") or {}
    labels = dict(labels) if isinstance(labels, dict) else {}
    if metadata.get("namespace"):
        labels.setdefault(K8S_NAMESPACE, metadata["namespace"])
    flat: dict[str, Any] = {"type": kind.name, "name": metadata.get("name", "")}
    if labels:
        flat["labels"] = labels
    if kind.scope == "mesh":
        flat["mesh"] = manifest.get("mesh") or labels.get(MESH) or DEFAULT_MESH
    if kind.name in SECRET_TYPES and manifest.get("apiVersion") == "v1":
        data = manifest.get("data")
        flat["data"] = data.get("value", "") if isinstance(data, dict) else data
        return flat
    spec = manifest.get("spec")
    if kind.wrapped:
        flat["spec"] = {} if spec is None else spec
        if "status" in manifest:
            flat["status"] = manifest["status"]
    elif isinstance(spec, dict):
        flat |= {key: value for key, value in spec.items() if key not in flat}
    return flat


def to_kubernetes(resource: Resource) -> dict[str, Any]:
    """The manifest of the same resource (`?format=k8s`)."""
    kind = KINDS[resource.kind]
    labels = {k: v for k, v in resource.labels.items() if k not in (K8S_NAMESPACE, DISPLAY_NAME)}
    metadata: dict[str, Any] = {"name": resource.name}
    namespace = resource.labels.get(K8S_NAMESPACE)
    if namespace:
        metadata["namespace"] = namespace
    if resource.created_ms:
        metadata["creationTimestamp"] = rfc3339(resource.created_ms // 1000 * 1000)
    if kind.scope == "mesh":
        labels.setdefault(MESH, resource.mesh)
    if labels:
        metadata["labels"] = {key: labels[key] for key in sorted(labels)}
    spec = plain(resource.spec)
    if kind.name in SECRET_TYPES:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "data": {"value": spec.get("data", "")},
            "type": SECRET_TYPES[kind.name],
        }
    manifest: dict[str, Any] = {"apiVersion": _GROUP, "kind": resource.kind}
    if kind.scope == "mesh" and not kind.wrapped:
        manifest["mesh"] = resource.mesh
    manifest |= {"metadata": metadata, "spec": spec}
    if kind.status_type is not None and resource.status is not None:
        manifest["status"] = plain(resource.status)
    return manifest
