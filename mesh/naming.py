"""Names that must be equal wherever they are computed: KRIs, copies' names, Envoy's names, SNIs.

*KRI* (resource identifier): `kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`.  It names the
resource as its author knew it, so it is equal for all copies in all clusters.

*Hashed names*: a copy in another cluster is stored under `<display name>-<16 characters>`, so that
equal names of two zones do not collide.

*SNI*: server names by which zone proxies route without ending TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from mesh.limits import NAME_CHARS_MAX
from mesh.registry import KINDS
from mesh.resource import K8S_NAMESPACE, Resource

_KRI_PREFIX = "kri"
_FNV64_OFFSET = 0xCBF29CE484222325
_FNV64_PRIME = 0x100000001B3
_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no look-alikes: no words by accident
_HASH_SUFFIX_CHARS = 17
_DNS_LABEL_CHARS_MAX = 63


def fnv1a64(text: str) -> int:
    """The 64-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    value = _FNV64_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _FNV64_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


# --- KRI ---------------------------------------------------------------------------------


class Kri(NamedTuple):
    """A parsed resource identifier; parts that do not apply are ""."""

    short: str
    mesh: str
    zone: str
    namespace: str
    name: str
    section: str

    def __str__(self) -> str:
        return "_".join((_KRI_PREFIX, *self))


def kri(short: str, mesh: str, name: str, *, zone: str = "", namespace: str = "", section: str = "") -> str:
    """The identifier of a resource, or of one section (port, inbound, listener) of it."""
    return str(Kri(short, mesh, zone, namespace, name, section))


def kri_of(resource: Resource, section: str = "") -> str:
    """The identifier of a resource. Raises KeyError for a kind without a short name."""
    return kri(
        short_name(resource.kind),
        resource.mesh,
        resource.display_name,
        zone=resource.zone,
        namespace=resource.labels.get(K8S_NAMESPACE, ""),
        section=section,
    )


def short_name(kind: str) -> str:
    """The short name of a kind ("msvc"). Raises KeyError when it has none."""
    short = KINDS[kind].short
    if not short:
        raise KeyError(kind)
    return short


@cache
def _short_names() -> frozenset[str]:
    from mesh.registry import KINDS  # the registry's kinds use names themselves

    return frozenset(kind.short for kind in KINDS.values() if kind.short)


def parse_kri(text: str) -> Kri:
    """Parse an identifier. Raises ValueError that says what is wrong with it."""
    parts = text.split("_")
    if len(parts) != 7 or not parts[5]:
        raise ValueError(f'invalid identifier string: "{text}"')
    if parts[0] != _KRI_PREFIX:
        raise ValueError(f"identifier must start with 'kri': \"{text}\"")
    if parts[1] not in _short_names():
        raise ValueError(f'unknown short name of resource type: "{parts[1]}"')
    return Kri(*parts[1:])


# --- copies in other clusters ------------------------------------------------------------


def hashed_name(mesh: str, display_name: str, *, zone: str = "", namespace: str = "") -> str:
    """The name under which a copy is stored: distinct for distinct origins, never over 253 chars."""
    digest = f"{fnv1a64(mesh + display_name + zone + namespace):016x}"
    suffix = "".join(_SAFE[ord(char) % len(_SAFE)] for char in digest)
    return f"{display_name[: NAME_CHARS_MAX - _HASH_SUFFIX_CHARS]}-{suffix}"


# --- server names ------------------------------------------------------------------------

_OLD_SNI_KINDS: Mapping[str, str] = {
    "MeshService": "ms",
    "MeshExternalService": "mes",
    "MeshMultiZoneService": "mzms",
}


def sni_of_tags(tags: Mapping[str, str], mesh: str = "") -> str:
    """The old form for a set of tags: `<service>` or `<service>{key=value,...}`, keys sorted."""
    service = tags.get("kuma.io/service", "")
    pairs = {key: value for key, value in tags.items() if key != "kuma.io/service"}
    if mesh:
        pairs["mesh"] = mesh
    if not pairs:
        return service
    return service + "{" + ",".join(f"{key}={pairs[key]}" for key in sorted(pairs)) + "}"


def sni_of_resource(kind: str, mesh: str, name: str, port: int, tags: Mapping[str, str] | None = None) -> str:
    """The 2.14 form for a destination: `a<hash>.<name>.<port>.<mesh>.<ms|mes|mzms>`."""
    more = "".join(f"{key}={value};" for key, value in sorted((tags or {}).items()))
    digest = fnv1a64(f"{name};{mesh};{more}")
    short_mesh, short = mesh[: _DNS_LABEL_CHARS_MAX - 1], name[: _DNS_LABEL_CHARS_MAX - 1]
    return f"a{digest:016x}.{short}.{port}.{short_mesh}.{_OLD_SNI_KINDS[kind]}"


def sni(resource: Resource, section: str) -> str:
    """The new form: `sni.<short>.<mesh>[.<zone>[.<namespace>]].<name>.<section>`."""
    parts = ["sni", short_name(resource.kind), resource.mesh]
    namespace = resource.labels.get(K8S_NAMESPACE, "")
    if resource.zone:
        parts.append(resource.zone)
        if namespace:
            parts.append(namespace)
    return ".".join((*parts, resource.display_name, section))


def snis(resource: Resource) -> list[dict[str, Any]]:
    """The server name of each port of a destination, as the API shows it; [] when it has no ports."""
    match = getattr(resource.spec, "match", None)
    ports = (match,) if match is not None else getattr(resource.spec, "ports", None) or ()
    return [{"port": p.port, "sni": sni(resource, getattr(p, "name", None) or str(p.port))} for p in ports]


# --- Envoy's resources -------------------------------------------------------------------


def cluster_name(resource: Resource, port: int | str, *, unified: bool = False) -> str:
    """The cluster of one port of a destination: `<mesh>_<name>_<namespace>_<zone>_<short>_<port>`,
    or its KRI when the proxy asked for unified names."""
    if unified:
        return kri_of(resource, str(port))
    namespace = resource.labels.get(K8S_NAMESPACE, "")
    parts = (
        resource.mesh,
        resource.display_name,
        namespace,
        resource.zone,
        short_name(resource.kind),
        str(port),
    )
    return "_".join(parts)


def split_cluster_name(service: str, tags: Mapping[str, str]) -> str:
    """The cluster of a part of a tagged service: `<service>-<hash of the tags>`."""
    rest = ",".join(f"{key}={value}" for key, value in sorted(tags.items()) if key != "kuma.io/service")
    return f"{service}-{fnv1a64(rest):016x}" if rest else service


def local_cluster_name(port: int, section: str = "", *, unified: bool = False) -> str:
    """The cluster of the application behind an inbound."""
    return contextual("inbound", section or str(port)) if unified else f"localhost:{port}"


def inbound_listener_name(address: str, port: int, section: str = "", *, unified: bool = False) -> str:
    return contextual("inbound", section or str(port)) if unified else f"inbound:{address}:{port}"


def outbound_listener_name(address: str, port: int, kri_name: str = "", *, unified: bool = False) -> str:
    return kri_name if unified and kri_name else f"outbound:{address}:{port}"


def inbound_route_name(service: str, section: str = "", *, unified: bool = False) -> str:
    return contextual("inbound", section) if unified and section else f"inbound:{service}"


def outbound_route_name(service: str) -> str:
    return f"outbound:{service}"


def passthrough_name(direction: str, ip_version: int, *, unified: bool = False) -> str:
    """Listener and cluster of unmatched traffic; direction is "inbound" or "outbound"."""
    if unified:
        return f"self_transparentproxy_passthrough_{direction}_ipv{ip_version}"
    return f"{direction}:passthrough:ipv{ip_version}"


def contextual(part: str, section: str) -> str:
    """A unified name that only has meaning within one proxy: `self_<part>_dp_<section>`."""
    return f"self_{part}_dp_{section}"


def identity_secret_name(mesh: str, *, unified: bool = False) -> str:
    return f"system_mtls_identity_{mesh}" if unified else f"identity_cert:secret:{mesh}"


def ca_secret_name(mesh: str, *, unified: bool = False) -> str:
    return f"system_mtls_ca_{mesh}" if unified else f"mesh_ca:secret:{mesh}"


ALL_MESHES_CA_SECRET = "mesh_ca:secret:all"
TRUST_BUNDLE_SECRET = "system_trust_bundle"
NO_DESTINATION_INBOUND = "self_transparentproxy_no_destination_inbound"


def admin_name(*, unified: bool = False) -> str:
    return "system_envoy_admin" if unified else "kuma:envoy:admin"


def readiness_name(*, unified: bool = False) -> str:
    return "system_probe_readiness" if unified else "kuma:readiness"
