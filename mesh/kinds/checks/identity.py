"""What has to hold of a MeshIdentity and a MeshTrust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.dnsnames import is_1123_subdomain
from mesh.durations import duration_ns
from mesh.errors import FieldError
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource
from mesh.templates import TemplateError, parse

if TYPE_CHECKING:
    from mesh.kinds.identity import Bundled, MeshIdentity, MeshTrust, Provider, SecureDataSource, SpiffeId

_SAMPLE = {
    "Mesh": "mesh",
    "Zone": "zone",
    "Namespace": "namespace",
    "ServiceAccount": "account",
    "Workload": "workload",
    "ClusterDomain": "cluster",
}
_SOURCES = {
    "File": "file",
    "Secret": "secret_ref",
    "EnvVar": "env_var",
    "InsecureInline": "insecure_inline",
}
_DOCUMENT_NAMES = {"secret_ref": "secretRef", "env_var": "envVar", "insecure_inline": "insecureInline"}
_DEFINED = "must be defined"


def validate_identity(resource: Resource, reader: Reader) -> Errors:
    identity: MeshIdentity = resource.spec
    if identity.spiffe_id is not None:
        yield from _spiffe_id("spec.spiffeID", identity.spiffe_id)
    if identity.provider is None:
        yield FieldError("spec.provider", _DEFINED)
    else:
        yield from _provider("spec.provider", identity.provider)


def _spiffe_id(path: str, spiffe_id: SpiffeId) -> Errors:
    for name, text in (("trustDomain", spiffe_id.trust_domain), ("path", spiffe_id.path)):
        if text is None:
            continue
        try:
            rendered = parse(text).render(_SAMPLE, _Labels())
        except TemplateError as error:
            yield FieldError(f"{path}.{name}", f"couldn't parse template: {error}")
            continue
        if name == "path" and not rendered.startswith("/"):
            yield FieldError(f"{path}.path", "must start with /")
        if name == "trustDomain" and not is_1123_subdomain(rendered):
            yield FieldError(f"{path}.trustDomain", "must render to a valid domain name")


class _Labels(dict[str, str]):
    """Labels of a proxy that has them all."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return "label"


def _provider(path: str, provider: Provider) -> Errors:
    if provider.type == "Extension" and provider.extension is None:
        yield FieldError(f"{path}.extension", _DEFINED)
    if provider.type != "Bundled":
        return
    if provider.bundled is None:
        yield FieldError(f"{path}.bundled", _DEFINED)
    else:
        yield from _bundled(f"{path}.bundled", provider.bundled)


def _bundled(path: str, bundled: Bundled) -> Errors:
    expiry = bundled.certificate_parameters.expiry if bundled.certificate_parameters else None
    if expiry is not None and duration_ns(expiry) <= 0:
        yield FieldError(f"{path}.certificateParameters.expiry", "must have a positive value")
    generated = bundled.autogenerate is not None and bundled.autogenerate.enabled is True
    if bundled.ca is None:
        if not generated:
            yield FieldError(f"{path}.ca", "must be defined when autogenerate is not enabled")
        return
    if generated:
        yield FieldError(f"{path}.ca", "must not be defined when autogenerate is enabled")
        return
    for name, source in (("certificate", bundled.ca.certificate), ("privateKey", bundled.ca.private_key)):
        if source is None:
            yield FieldError(f"{path}.ca.{name}", _DEFINED)
        else:
            yield from _source(f"{path}.ca.{name}", source)


def _source(path: str, source: SecureDataSource) -> Errors:
    wanted = _SOURCES[source.type]
    if getattr(source, wanted) is None:
        yield FieldError(f"{path}.{_DOCUMENT_NAMES.get(wanted, wanted)}", _DEFINED)


def validate_trust(resource: Resource, reader: Reader) -> Errors:
    trust: MeshTrust = resource.spec
    if not is_1123_subdomain(trust.trust_domain):
        yield FieldError("spec.trustDomain", "must be a valid domain name")
    for position, bundle in enumerate(trust.ca_bundles):
        path = f"spec.caBundles[{position}].pem"
        if bundle.pem is None:
            yield FieldError(path, _DEFINED)
        elif "-----BEGIN CERTIFICATE-----" not in bundle.pem.value:
            yield FieldError(f"{path}.value", "must be a PEM-encoded certificate")
