"""Who sends a request: a user token, a client certificate, the machine itself, or nobody.

A request from the machine itself is the administrator's (`apiServer.authn.localhostIsAdmin`),
but only when nothing suggests that somebody else is behind it: it was addressed to this
machine by name, and neither a proxy nor a page of another site had a hand in it.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from cp.api.context import Context
from cp.problems import Problem
from cp.tokens import USER as USER_KEYS
from cp.tokens import InvalidToken
from cp.users import ADMIN, ANONYMOUS, AUTHENTICATED, User

USER = web.RequestKey("user", User)
# Each says that somebody else is behind the request: proxies, load balancers, tunnels.
FORWARDED = (
    "Forwarded",
    "Via",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Original-Forwarded-For",
    "X-Envoy-External-Address",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
)
_FORWARDED = frozenset(name.lower() for name in FORWARDED)
_LOCAL_NAMES = ("localhost", "ip6-localhost")


def user_of(request: web.Request, context: Context) -> User:
    """The request's user. Raises Problem (401) for a token that proves nothing."""
    known = request.get(USER)
    if known is None:
        known = _authenticate(request, context)
        request[USER] = known
    return known


def _authenticate(request: web.Request, context: Context) -> User:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":  # also without a token: who means to show one is not taken for another
        return _of_token(token.strip(), context)
    certificate = _client_certificate(request, context)
    if certificate:
        return user_of_certificate(certificate)
    if context.config.api_server.authn.localhost_is_admin and is_local(request):
        return ADMIN
    return ANONYMOUS


def _of_token(token: str, context: Context) -> User:
    try:
        claims = context.user_tokens.verify(context.live.view, USER_KEYS, token, time.time())
    except InvalidToken as error:
        raise Problem(
            401, "Invalid authentication data", str(error), headers={"WWW-Authenticate": "Bearer"}
        ) from error
    groups = claims.get("Groups") or []
    if not isinstance(groups, list):
        raise Problem(401, "Invalid authentication data", "the token's groups are no list")
    return User(str(claims.get("Name", "")), tuple(map(str, groups))).with_groups(AUTHENTICATED)


def _client_certificate(request: web.Request, context: Context) -> dict[str, Any] | None:
    """The client's certificate, if TLS verified one against `apiServer.auth.clientCertsDir`."""
    if context.config.api_server.authn.type != "adminClientCerts" or request.transport is None:
        return None
    found: dict[str, Any] | None = request.transport.get_extra_info("peercert")
    return found or None


def user_of_certificate(certificate: Mapping[str, Any]) -> User:
    """Whom a verified certificate stands for: the administrator, unless it names somebody.

    Names are URIs among its alternative names, or its common name: `user:NAME`, and any `group:NAME`.
    """
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    names += [
        value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    ]
    users = [name.removeprefix("user:") for name in names if name.startswith("user:")]
    groups = [name.removeprefix("group:") for name in names if name.startswith("group:")]
    if not users and not groups:
        return ADMIN
    return User(users[0] if users else "", tuple(groups)).with_groups(AUTHENTICATED)


def is_local(request: web.Request) -> bool:
    """Whether a person on this machine sent it, as far as can be told."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if isinstance(peer, tuple):
        if not _is_loopback(peer[0].partition("%")[0]):
            return False
    elif not isinstance(peer, str):  # a Unix socket has an empty name
        return False
    if any(name.lower() in _FORWARDED for name in request.headers):
        return False
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return False
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return False
    return _is_loopback(urlsplit(f"//{request.host}").hostname or "")


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    """Whether an address, or the name that a client used for this machine, is the machine itself."""
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
