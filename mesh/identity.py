"""Who a proxy is by MeshIdentity: the identity that selects it, and the SPIFFE ID that this one gives.

A SPIFFE ID is `spiffe://<trust domain><path>`, both rendered from templates.  An identity counts once its
status says that it is ready: before, its certificates do not exist.
"""

from __future__ import annotations

from mesh import templates
from mesh.reader import Reader
from mesh.resource import K8S_NAMESPACE, WORKLOAD, Resource

TRUST_DOMAIN = "{{ .Mesh }}.{{ .Zone }}.mesh.local"
PATH = "/workload/{{ .Workload }}"
SERVICE_ACCOUNT = "k8s.kuma.io/service-account"


def identity_for(reader: Reader, dataplane: Resource) -> Resource | None:
    """The MeshIdentity that selects a proxy by the most labels; among equals the first by name."""
    found = [
        (-len(labels), identity.name, identity)
        for identity in reader.list("MeshIdentity", dataplane.mesh)
        if (labels := _selector(identity)) is not None
        and all(dataplane.labels.get(key) == value for key, value in labels.items())
    ]
    return min(found, key=lambda candidate: candidate[:2])[2] if found else None


def _selector(identity: Resource) -> dict[str, str] | None:
    selector = identity.spec.selector.dataplane if identity.spec.selector else None
    return None if selector is None else dict(selector.match_labels or {})


def is_ready(identity: Resource) -> bool:
    """Whether certificates of this identity can be issued."""
    conditions = identity.status.conditions if identity.status else ()
    return any(found.type == "Ready" and found.status == "True" for found in conditions)


def trust_domain(identity: Resource, zone: str) -> str:
    """The trust domain of an identity, in the zone that wrote it, else `zone`. Raises TemplateError."""
    template = identity.spec.spiffe_id.trust_domain if identity.spec.spiffe_id else None
    fields = {"Mesh": identity.mesh, "Zone": identity.zone or zone}
    return templates.parse(template or TRUST_DOMAIN).render(fields, identity.labels)


def spiffe_id(identity: Resource, dataplane: Resource, zone: str) -> str:
    """The SPIFFE ID that an identity gives to a proxy. Raises TemplateError."""
    template = identity.spec.spiffe_id.path if identity.spec.spiffe_id else None
    labels = dataplane.labels
    fields = {
        "TrustDomain": trust_domain(identity, zone),
        "Mesh": dataplane.mesh,
        "Zone": dataplane.zone or zone,
        "Namespace": labels.get(K8S_NAMESPACE, ""),
        "ServiceAccount": labels.get(SERVICE_ACCOUNT, ""),
        "Workload": labels.get(WORKLOAD, ""),
    }
    return f"spiffe://{fields['TrustDomain']}{templates.parse(template or PATH).render(fields, labels)}"
