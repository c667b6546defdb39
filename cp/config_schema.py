"""Every setting of the control plane, its type, bounds and default, declared once.

Names and defaults are Kuma's wherever Kuma has the setting, so that an existing
configuration file keeps working; what Kuma has no word for lives under `raft`, `workers`
and `log`. Reading, environment variables, errors and `/config` are all derived from these
declarations (`cp/config.py`).

Durations are seconds (float) once read, and written as Go writes them: `500ms`, `10s`, `72h`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65535, description="a port; 0 picks a free one")]
Duration = Annotated[float, Meta(ge=0, extra={"duration": True})]
Secret = Annotated[str, Meta(extra={"secret": True})]


class Section(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all sections: camelCase on the outside, as in Kuma's file."""


# --- general ------------------------------------------------------------------------------


class General(Section, frozen=True):
    tls_cert_file: str = ""
    tls_key_file: str = ""
    work_dir: str = ""


class Log(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: bool = False


class Diagnostics(Section, frozen=True):
    interface: str = "0.0.0.0"
    server_port: Port = 5680


class Defaults(Section, frozen=True):
    skip_mesh_creation: bool = False
    skip_hostname_generators: bool = False


class StoreSettings(Section, frozen=True):
    unsafe_delete: bool = False


# --- HTTP API -----------------------------------------------------------------------------


class Http(Section, frozen=True):
    enabled: bool = True
    interface: str = "0.0.0.0"
    port: Port = 5681


class Https(Section, frozen=True):
    enabled: bool = True
    interface: str = "0.0.0.0"
    port: Port = 5682
    tls_cert_file: str = ""
    tls_key_file: str = ""
    require_client_cert: bool = False


class PublicKey(Section, frozen=True):
    kid: str = ""
    mesh: str = ""
    key: str = ""
    key_file: str = ""


class Validator(Section, frozen=True):
    use_secrets: bool = True
    public_keys: tuple[PublicKey, ...] = ()


class TokenAuth(Section, frozen=True):
    bootstrap_admin_token: bool = True
    enable_issuer: bool = True
    validator: Validator = Validator()


class ApiAuthn(Section, frozen=True):
    type: Literal["tokens", "adminClientCerts"] = "tokens"
    localhost_is_admin: bool = True
    tokens: TokenAuth = TokenAuth()


class ApiAuth(Section, frozen=True):
    client_certs_dir: str = ""


class Gui(Section, frozen=True):
    enabled: bool = True
    root_url: str = ""
    base_path: str = "/gui"


class ApiServer(Section, frozen=True):
    read_only: bool = False
    cors_allowed_domains: tuple[str, ...] = ()
    base_path: str = "/"
    root_url: str = ""
    http: Http = Http()
    https: Https = Https()
    auth: ApiAuth = ApiAuth()
    authn: ApiAuthn = ApiAuthn()
    gui: Gui = Gui()


class Subjects(Section, frozen=True):
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


_ADMINS = Subjects(users=("mesh-system:admin",), groups=("mesh-system:admin",))
_EVERYONE = Subjects(groups=("mesh-system:unauthenticated", "mesh-system:authenticated"))


class StaticAccess(Section, frozen=True):
    admin_resources: Subjects = _ADMINS
    generate_dp_token: Subjects = _ADMINS
    generate_user_token: Subjects = _ADMINS
    generate_zone_token: Subjects = _ADMINS
    view_config_dump: Subjects = _EVERYONE
    view_stats: Subjects = _EVERYONE
    view_clusters: Subjects = _EVERYONE
    control_plane_metadata: Subjects = _EVERYONE


class Access(Section, frozen=True):
    type: Literal["static", "rbac"] = "static"
    static: StaticAccess = StaticAccess()


# --- proxies ------------------------------------------------------------------------------


class ProxyToken(Section, frozen=True):
    enable_issuer: bool = True
    validator: Validator = Validator()


class DpProxyAuthn(Section, frozen=True):
    type: Literal["", "dpToken", "none"] = "dpToken"
    dp_token: ProxyToken = ProxyToken()


class ZoneProxyAuthn(Section, frozen=True):
    type: Literal["", "zoneToken", "none"] = "zoneToken"
    zone_token: ProxyToken = ProxyToken()


class DpAuthn(Section, frozen=True):
    dp_proxy: DpProxyAuthn = DpProxyAuthn()
    zone_proxy: ZoneProxyAuthn = ZoneProxyAuthn()
    enable_reloadable_tokens: bool = False


class Hds(Section, frozen=True):
    enabled: bool = True


class DpServer(Section, frozen=True):
    interface: str = "0.0.0.0"
    port: Port = 5678
    tls_cert_file: str = ""
    tls_key_file: str = ""
    graceful_shutdown_timeout: Duration = 10.0
    authn: DpAuthn = DpAuthn()
    hds: Hds = Hds()


class BootstrapParams(Section, frozen=True):
    admin_port: Port = 9901
    admin_access_log_path: str = "/dev/null"
    xds_host: str = ""
    xds_port: Port = 0
    xds_connect_timeout: Duration = 1.0


class BootstrapServer(Section, frozen=True):
    params: BootstrapParams = BootstrapParams()


class Streams(Section, frozen=True):
    """How streams of proxies are let in, sent away and spread over replicas (docs/adr/0020).

    Per second; 0: no limit (of `balance_per_second`: no balancing). balance_tolerance: how much above the
    mean of all replicas is left alone, as a fraction of it. balance_settle: for how long the replicas must be
    the same ones: a rolling restart is over, and its proxies have settled.
    """

    admission_per_second: Annotated[float, Meta(ge=0)] = 200.0
    admission_burst: Annotated[int, Meta(ge=1)] = 100
    drain_per_second: Annotated[float, Meta(ge=0)] = 200.0
    balance_per_second: Annotated[float, Meta(ge=0)] = 5.0
    balance_tolerance: Annotated[float, Meta(ge=0.05, le=10)] = 0.2
    balance_interval: Duration = 10.0
    balance_settle: Duration = 30.0


class XdsServer(Section, frozen=True):
    dataplane_deregistration_delay: Duration = 10.0
    dataplane_status_flush_interval: Duration = 10.0
    consistency_check_interval: Duration = 0.0
    streams: Streams = Streams()


class MonitoringAssignmentServer(Section, frozen=True):
    port: Port = 5676


class Universal(Section, frozen=True):
    dataplane_cleanup_age: Duration = 72 * 3600.0
    zone_resource_cleanup_age: Duration = 72 * 3600.0


class Runtime(Section, frozen=True):
    universal: Universal = Universal()


# --- zones --------------------------------------------------------------------------------


class ZoneKds(Section, frozen=True):
    root_ca_file: str = ""
    tls_skip_verify: bool = False
    token: Secret = ""
    token_file: str = ""


class GlobalKds(Section, frozen=True):
    grpc_port: Port = 5685
    tls_enabled: bool = True
    tls_cert_file: str = ""
    tls_key_file: str = ""
    auth_type: Literal["none", "cpToken"] = "none"


class ZoneSettings(Section, frozen=True):
    name: str = "default"
    global_address: str = ""
    disable_origin_label_validation: bool = False
    kds: ZoneKds = ZoneKds()


class GlobalSettings(Section, frozen=True):
    kds: GlobalKds = GlobalKds()


class Multizone(Section, frozen=True):
    zone: ZoneSettings = ZoneSettings()
    global_: GlobalSettings = msgspec.field(default=GlobalSettings(), name="global")


# --- the replicated log -------------------------------------------------------------------


class Raft(Section, frozen=True):
    """`peers`: the other replicas, each `ID=HOST:PORT`; empty for a cluster of one.
    `join`: this replica is not among the first ones; it waits to be added."""

    node_id: str = "cp-1"
    data_dir: str = "/var/lib/raftmesh"
    listen: str = "0.0.0.0:5683"
    advertise: str = ""
    peers: tuple[str, ...] = ()
    join: bool = False
    tls_dir: str = ""
    embedded: Literal["auto", "always", "never"] = "auto"
    election_timeout: Annotated[float, Meta(ge=0.1, le=60, extra={"duration": True})] = 0.5


class Config(Section, frozen=True):
    mode: Literal["zone", "global"] = "zone"
    environment: Literal["universal"] = "universal"
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    general: General = General()
    log: Log = Log()
    raft: Raft = Raft()
    store: StoreSettings = StoreSettings()
    defaults: Defaults = Defaults()
    diagnostics: Diagnostics = Diagnostics()
    api_server: ApiServer = ApiServer()
    access: Access = Access()
    dp_server: DpServer = DpServer()
    bootstrap_server: BootstrapServer = BootstrapServer()
    xds_server: XdsServer = XdsServer()
    monitoring_assignment_server: MonitoringAssignmentServer = MonitoringAssignmentServer()
    runtime: Runtime = Runtime()
    multizone: Multizone = Multizone()

    @property
    def federated(self) -> bool:
        """A zone that is connected to a global control plane."""
        return self.mode == "zone" and bool(self.multizone.zone.global_address)

    @property
    def embedded(self) -> bool:
        """Whether store and worker share one process."""
        if self.raft.embedded == "auto":
            return not self.raft.peers and self.workers == 1
        return self.raft.embedded == "always"


# Settings of Kuma that have nothing to set here: accepted so that a file can be carried
# over unchanged, and named in a warning. Path prefix -> why.
KUMA_ONLY: dict[str, str] = {
    "store.type": "resources are kept in raftmesh's own replicated log",
    "store.postgres": "resources are kept in raftmesh's own replicated log",
    "store.kubernetes": "resources are kept in raftmesh's own replicated log",
    "store.cache": "reads come from memory; there is no cache to expire",
    "store.upsert": "conflicting writes are decided by the log",
    "interCp": "replicas talk over the raft port",
    "leaderElection": "the leader is elected by the raft log",
    "xdsServer.dataplaneConfigurationRefreshInterval": "configuration is derived on events, not on a timer",
    "xdsServer.nackBackoff": "a rejected resource is sent again when it changes, not after a time",
    "defaults.createMeshRoutingResources": "the legacy kinds that it creates do not exist",
    "dpServer.hds.interval": "not adjustable here",
    "dpServer.hds.refreshInterval": "not adjustable here",
    "metrics": "insights follow events, not a resync timer",
    "runtime.kubernetes": "raftmesh runs in Universal mode",
    "runtime.universal.vipRefreshInterval": "addresses follow events, not a timer",
    "dnsServer": "not adjustable here",
    "experimental": "experiments of Kuma",
    "eventBus": "there is no event bus to size",
    "policies": "every policy is always there",
    "proxy": "not adjustable here",
    "tracing": "not adjustable here",
    "coreResources": "every kind is always there",
    "ipam": "not adjustable here",
    "reports": "raftmesh sends no reports",
    "vault": "not adjustable here",
    "meshService": "not adjustable here",
    "runtime.universal.zoneIngressUpdateInterval": "follows events, not a timer",
    "runtime.universal.meshServiceGenerationInterval": "follows events, not a timer",
}
