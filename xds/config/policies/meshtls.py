"""MeshTLS: whether an inbound takes plain traffic, and which TLS a proxy speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft
from xds.config.tls import common_context

if TYPE_CHECKING:
    from xds.config.inbound import Inbound
    from xds.config.outbound import Backend

KIND = "MeshTLS"
_VERSIONS = {
    "TLSAuto": "TLS_AUTO",
    "TLS10": "TLSv1_0",
    "TLS11": "TLSv1_1",
    "TLS12": "TLSv1_2",
    "TLS13": "TLSv1_3",
}


def permissive(confs: KindConfs, by_default: bool) -> bool:
    """Whether an inbound with these confs takes plain traffic, too."""
    conf = conf_of(KIND, confs)
    if conf is None or conf.mode is None:
        return by_default
    return bool(conf.mode == "Permissive")


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Versions and ciphers of traffic that comes in."""
    parameters = _parameters(conf_of(KIND, inbound.confs))
    if parameters:
        for chain in draft["filter_chains"]:
            if "transport_socket" in chain:
                common_context(chain["transport_socket"])["tls_params"] = parameters


def edit_backend(draft: Draft, backend: Backend) -> None:
    """Versions and ciphers of traffic that goes out: a proxy speaks one TLS in both directions."""
    parameters = _parameters(conf_of(KIND, backend.tls_conf))
    if parameters and "transport_socket" in draft:
        common_context(draft["transport_socket"])["tls_params"] = parameters


def _parameters(conf: Any) -> Draft:
    draft: Draft = {}
    if conf is None:
        return draft
    if conf.tls_version is not None:
        draft["tls_minimum_protocol_version"] = _VERSIONS[conf.tls_version.min]
        draft["tls_maximum_protocol_version"] = _VERSIONS[conf.tls_version.max]
    if conf.tls_ciphers:
        draft["cipher_suites"] = list(conf.tls_ciphers)
    return draft
