"""`POST /bootstrap`: what a data-plane proxy must know to start its Envoy.

The request says who the proxy is and what its runner can do; the answer is the Envoy bootstrap of
cp/bootstrap_config.py, as YAML or inside JSON. A proxy may bring its Dataplane along
(`dataplaneResource`), which is validated here and registered when its stream begins; without it
the Dataplane must exist already.

Errors are plain text, as the runners of Kuma print them: 400 when the proxy could not verify this
control plane, 404 (empty: the runner asks again) when the Dataplane does not exist yet, 422 when
the request can never succeed.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from aiohttp import web
from cryptography import x509

from cp.api.body import check_document, parse_yaml
from cp.bootstrap_config import ADMIN_SOCKET, SOCKET_PATH_MAX, Admin, Parameters, build, to_yaml
from cp.limits import BODY_BYTES_MAX
from cp.problems import Problem
from mesh.codec import decode
from mesh.errors import BadRequest, Invalid
from mesh.resource import Resource
from mesh.validate import validate

KINDS = {"dataplane": "Dataplane", "ingress": "ZoneIngress", "egress": "ZoneEgress"}
PORT_MAX = 65535
CP_ADDRESSES_MAX = 64

TOKEN_REQUIRED = (
    "Dataplane Token is required. Generate token using 'kumactl generate dataplane-token > /path/file' "
    "and provide it via --dataplane-token-file=/path/file argument to Kuma DP"
)
NOT_A_CA = (
    "A data plane proxy is trying to verify the control plane using the certificate which is not a certificate "
    "authority (basic constraint 'CA' is set to 'false').\nProvide CA that was used to sign a certificate used in "
    "the control plane by using 'kuma-dp run --ca-cert-file=file' or via KUMA_CONTROL_PLANE_CA_CERT_FILE"
)

# Finds a stored resource by kind, mesh and name.
Find = Callable[[str, str, str], Resource | None]


class BootstrapError(Exception):
    """A request that gets no bootstrap. `text` is the body of the answer."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or f"status {status}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Settings:
    """The control plane's part. `xds_host`, `xds_port`: what proxies shall connect to; "" and 0:
    the host that they reached, and the port that we listen on.

    cert_pem: the certificate that this dp-server presents (with its chain).
    """

    cert_pem: bytes
    listen_port: int
    xds_host: str = ""
    xds_port: int = 0
    connect_timeout: str = "1s"
    admin_address: str = "127.0.0.1"
    admin_port: int = 9901
    admin_access_log: str = "/dev/null"
    hds: bool = True
    dp_token_required: bool = True
    zone_token_required: bool = True
    reloadable_tokens: bool = False
    gateway_connections_max: int = 50_000


class _Camel(msgspec.Struct, rename="camel"):
    """Fields that are missing or null have their default."""


class _Resources(_Camel):
    max_heap_size_bytes: int | None = None


class _MetricsResources(_Camel):
    cert_path: str | None = None
    key_path: str | None = None


class _Version(_Camel):
    kuma_dp: dict[str, Any] | None = None
    envoy: dict[str, Any] | None = None
    dependencies: dict[str, str] | None = None


class BootstrapRequest(_Camel):
    """The body of the request. Raftmesh's own: `cp_addresses`, all control planes that the runner was
    given, as URLs; `admin_port`, a free port through which they may reach Envoy's admin interface."""

    mesh: str | None = None
    name: str | None = None
    proxy_type: str | None = None
    dataplane_token: str | None = None
    dataplane_token_path: str | None = None
    dataplane_resource: str | None = None
    host: str | None = None
    version: _Version | None = None
    ca_cert: str | None = None
    dynamic_metadata: dict[str, str] | None = None
    dns_port: int | None = None
    empty_dns_port: bool | None = None
    readiness_port: int | None = None
    app_probe_proxy_disabled: bool | None = None
    features: list[str] | None = None
    resources: _Resources | None = None
    workdir: str | None = None
    metrics_resources: _MetricsResources | None = None
    system_ca_path: str | None = None
    transparent_proxy: Any = None
    ipv6_enabled: bool | None = None
    spire_socket_path: str | None = None
    cp_addresses: list[str] | None = None
    admin_port: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A bootstrap, and the settings of the runner itself."""

    config: dict[str, Any]
    sidecar: dict[str, Any]


class Bootstrap:
    """Answers bootstrap requests from what is stored now."""

    def __init__(self, settings: Settings, find: Find) -> None:
        self._settings = settings
        self._find = find
        self._certificate = x509.load_pem_x509_certificate(settings.cert_pem)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/bootstrap", self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """The HTTP handler."""
        try:
            answer = await self.answer(_decode(await _body(request)))
        except BootstrapError as error:
            return web.Response(status=error.status, text=error.text)
        text = to_yaml(answer.config)
        if "application/json" not in request.headers.get("Accept", ""):
            return web.Response(text=text, content_type="text/x-yaml")
        encoded = base64.b64encode(text.encode()).decode()
        body = {"bootstrap": encoded, "kumaSidecarConfiguration": answer.sidecar}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def answer(self, request: BootstrapRequest) -> Answer:
        """The bootstrap for a request. Raises BootstrapError."""
        proxy_type = request.proxy_type or "dataplane"
        if proxy_type not in KINDS:
            raise BootstrapError(
                422, f"unknown proxy type {proxy_type!r}; it must be one of {', '.join(KINDS)}"
            )
        self._require_token(request, proxy_type)
        resource = await self._resource(request, proxy_type)
        admin_port = self._admin_port(resource)
        addresses = self._addresses(request)
        networking = resource.spec.networking
        parameters = Parameters(
            mesh=resource.mesh,
            name=resource.name,
            service=_service(resource, proxy_type),
            addresses=addresses,
            ca_pem=self._ca(request, addresses[0][0]),
            proxy_type=proxy_type,
            workdir=request.workdir or "",
            features=request.features or (),
            token="" if self._settings.reloadable_tokens else request.dataplane_token or "",
            token_path=(request.dataplane_token_path or "") if self._settings.reloadable_tokens else "",
            admin=self._admin(request, admin_port),
            hds=self._settings.hds,
            connect_timeout=self._settings.connect_timeout,
            builtin_gateway=proxy_type == "dataplane" and resource.spec.is_builtin_gateway,
            gateway_connections_max=self._settings.gateway_connections_max,
            heap_bytes_max=(request.resources and request.resources.max_heap_size_bytes) or 0,
            fail_over=bool(request.cp_addresses),
            metadata=_metadata(request),
        )
        transparent = bool(getattr(networking, "transparent_proxying", None) or request.transparent_proxy)
        sidecar = {"networking": {"isUsingTransparentProxy": transparent, "address": networking.address}}
        return Answer(build(parameters), sidecar)

    # --- who asks ------------------------------------------------------------------------------

    def _require_token(self, request: BootstrapRequest, proxy_type: str) -> None:
        settings = self._settings
        required = settings.dp_token_required if proxy_type == "dataplane" else settings.zone_token_required
        given = request.dataplane_token_path if settings.reloadable_tokens else request.dataplane_token
        if required and not given:
            raise BootstrapError(422, TOKEN_REQUIRED)

    async def _resource(self, request: BootstrapRequest, proxy_type: str) -> Resource:
        kind = KINDS[proxy_type]
        mesh = (request.mesh or "default") if proxy_type == "dataplane" else ""
        if request.dataplane_resource:
            return _validated(await _document(request.dataplane_resource), kind, request.mesh, request.name)
        if not request.name:
            raise BootstrapError(422, "name: cannot be empty")
        resource = self._find(kind, mesh, request.name)
        if resource is None or resource.spec.networking is None:
            raise BootstrapError(404)
        return resource

    # --- how the proxy finds and trusts the control plane ---------------------------------------

    def _addresses(self, request: BootstrapRequest) -> Sequence[tuple[str, int]]:
        settings = self._settings
        own_port = settings.xds_port or settings.listen_port
        own = (settings.xds_host or request.host or "localhost", own_port)
        listed = [_address(url, own_port) for url in (request.cp_addresses or [])[:CP_ADDRESSES_MAX]]
        # The one that answered first: it is alive, and its name is what the proxy verified.
        return list(dict.fromkeys([own, *listed] if own in listed or not listed else listed))

    def _ca(self, request: BootstrapRequest, host: str) -> bytes:
        if not request.ca_cert:
            self._check_names(host)
            return self._settings.cert_pem
        pem = request.ca_cert.encode()
        try:
            certificates = x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise BootstrapError(400, "caCert: is not a PEM certificate") from None
        if not all(map(_is_ca, certificates)):
            raise BootstrapError(400, NOT_A_CA)
        return pem

    def _check_names(self, host: str) -> None:
        names = _names(self._certificate)
        if any(_matches(name, host) for name in names):
            return
        raise BootstrapError(
            400,
            f'A data plane proxy is trying to connect to the control plane using "{host}" address, but the '
            f"certificate in the control plane has the following SANs {names}. Either change the --cp-address in "
            "kuma-dp to one of those or execute the following steps:\n"
            f"1) Generate a new certificate with the address you are trying to use, e.g. "
            f"'kumactl generate tls-certificate --type=server --hostname={host}'\n"
            "2) Set KUMA_GENERAL_TLS_CERT_FILE and KUMA_GENERAL_TLS_KEY_FILE to it\n"
            "3) Restart the control plane, then start kuma-dp again",
        )

    # --- Envoy's admin interface ----------------------------------------------------------------

    def _admin_port(self, resource: Resource) -> int:
        admin = resource.spec.networking.admin
        return (admin.port if admin is not None and admin.port else 0) or 0

    def _admin(self, request: BootstrapRequest, configured_port: int) -> Admin | None:
        """A Unix socket for our own runner, so that many proxies share a machine; else a port."""
        log = self._settings.admin_access_log
        path = f"{request.workdir}/{ADMIN_SOCKET}"
        ours = request.cp_addresses is not None and request.workdir and len(path) <= SOCKET_PATH_MAX
        if ours and not configured_port:
            offered = request.admin_port or 0
            return Admin(path=path, port=offered if 0 < offered <= PORT_MAX else 0, access_log=log)
        port = configured_port or self._settings.admin_port
        return Admin(self._settings.admin_address, port, access_log=log) if port else None


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise BootstrapError(413, f"the request is larger than {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _decode(body: bytes) -> BootstrapRequest:
    try:
        return msgspec.json.decode(body, type=BootstrapRequest)
    except msgspec.DecodeError as error:
        raise BootstrapError(422, f"the request is not understood: {error}") from None


async def _document(text: str) -> dict[str, Any]:
    """The Dataplane that a proxy brings, as JSON or YAML."""
    try:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            documents = await parse_yaml(text.encode())
            document = documents[0] if len(documents) == 1 else documents
        check_document(document)
    except Problem as problem:
        raise BootstrapError(422, f"dataplaneResource: {problem.detail.removeprefix('the body ')}") from None
    if not isinstance(document, dict):
        raise BootstrapError(422, "dataplaneResource: must be an object")
    return document


def _validated(document: Mapping[str, Any], kind: str, mesh: str | None, name: str | None) -> Resource:
    try:
        resource = decode(document, kind=kind, mesh=mesh or None, name=name or None)
        errors = validate(resource)
    except Invalid as invalid:
        errors = list(invalid.errors)
    except BadRequest as error:
        raise BootstrapError(422, f"dataplaneResource: {error.detail}") from None
    if errors:
        raise BootstrapError(422, "; ".join(f"{error.field}: {error.reason}" for error in errors))
    return resource


def _service(resource: Resource, proxy_type: str) -> str:
    if proxy_type != "dataplane":
        return proxy_type
    for tags in resource.spec.tag_sets:
        if tags.get("kuma.io/service"):
            return str(tags["kuma.io/service"])
    return "unknown"


def _metadata(request: BootstrapRequest) -> dict[str, Any]:
    metrics = request.metrics_resources or _MetricsResources()
    version = request.version or _Version()
    metadata: dict[str, Any] = {
        "ipv6Enabled": bool(request.ipv6_enabled),
        "metricsCertPath": metrics.cert_path or "",
        "metricsKeyPath": metrics.key_path or "",
        "spireAgent.socketPath": request.spire_socket_path or "",
        "systemCaPath": request.system_ca_path or "",
        "version": {
            "kumaDp": {key: value for key, value in (version.kuma_dp or {}).items() if value},
            "envoy": {key: value for key, value in (version.envoy or {}).items() if value},
        },
    }
    if version.dependencies:
        metadata["version"]["dependencies"] = version.dependencies
    if request.dns_port and not request.empty_dns_port:
        metadata["dataplane.dns.port"] = str(request.dns_port)
    if request.readiness_port:
        metadata["dataplane.readinessReporter.port"] = str(request.readiness_port)
        if not request.app_probe_proxy_disabled:
            metadata["dataplane.appProbeProxy.enabled"] = "true"
    if request.dataplane_resource:
        metadata["dataplane.resource"] = request.dataplane_resource
    if request.dynamic_metadata:
        metadata["dynamicMetadata"] = request.dynamic_metadata
    if request.transparent_proxy:
        metadata["transparentProxy"] = request.transparent_proxy
    return metadata


def _address(url: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise BootstrapError(422, f"cpAddresses: {url!r} is not an address such as https://10.0.0.1:5678")
    return host, port or default_port


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _matches(name: str, host: str) -> bool:
    """Whether a certificate's name covers a host: equal, or a wildcard for its first label."""
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        return name.lower() == host.lower()
