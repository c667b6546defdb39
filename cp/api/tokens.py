"""`POST /tokens/{dataplane,zone,user}`: a signed token as plain text; `/who-am-i`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.body import read_object
from cp.api.consistency import informed
from cp.api.context import Context
from cp.duration import parse_duration
from cp.problems import Problem
from cp.tokens import (
    TEN_YEARS_S,
    USER,
    ZONE,
    Keys,
    NoSigningKey,
    dataplane_claims,
    issue,
    of_dataplanes,
    user_claims,
    zone_claims,
)
from mesh.errors import FieldError

T = TypeVar("T")

TITLE = "Could not issue a token"
INVALID = "Invalid request"
DISABLED = Problem(400, TITLE, "issuing tokens using the control plane is disabled.")
PROXY_TYPES = ("", "dataplane", "ingress", "egress")
CP_SCOPE = "cp"  # not of a zone's proxies, but of its control plane
SCOPES = ("ingress", "egress", CP_SCOPE)


def routes(context: Context) -> list[web.RouteDef]:
    tokens = _Tokens(context)
    return [
        web.post("/tokens/dataplane", tokens.dataplane),
        web.post("/tokens/zone", tokens.zone),
        web.post("/tokens/user", tokens.user),
        web.get("/who-am-i", tokens.who_am_i),
    ]


class _Tokens:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def dataplane(self, request: web.Request) -> web.Response:
        config = self._context.config
        if not config.dp_server.authn.dp_proxy.dp_token.enable_issuer:
            raise DISABLED
        user = user_of(request, self._context)
        body = _Body(await read_object(request, INVALID))
        mesh, name = body.text("mesh"), body.text("name")
        tags, kind = body.tags("tags"), body.one_of("type", PROXY_TYPES)
        workload, valid_s = body.text("workload"), body.duration("validFor")
        if not mesh:
            body.fault("mesh", "cannot be empty")
        body.check()
        self._context.access.token(user, "GENERATE_DATAPLANE_TOKEN", mesh, tags)
        claims = dataplane_claims(name, mesh, tags, kind or "dataplane", workload)
        return self._issued(of_dataplanes(mesh), claims, valid_s or TEN_YEARS_S)

    async def zone(self, request: web.Request) -> web.Response:
        config = self._context.config
        if not config.dp_server.authn.zone_proxy.zone_token.enable_issuer:
            raise DISABLED
        user = user_of(request, self._context)
        body = _Body(await read_object(request, INVALID))
        zone, scope, valid_s = body.text("zone"), body.texts("scope"), body.duration("validFor")
        if scope is None:
            body.fault("scope", "cannot be empty")
        for wrong in [each for each in scope or () if each not in SCOPES]:
            body.fault("scope", f"unknown scope {wrong[:40]!r}; allowed: {', '.join(SCOPES)}")
        body.check()
        if scope is None or set(scope) - {CP_SCOPE} or not scope:
            self._context.access.token(user, "GENERATE_ZONE_TOKEN")
        if CP_SCOPE in (scope or ()):
            self._context.access.token(user, "GENERATE_ZONE_CP_TOKEN")
        return self._issued(ZONE, zone_claims(zone, scope or ()), valid_s or TEN_YEARS_S)

    async def user(self, request: web.Request) -> web.Response:
        config = self._context.config
        if not config.api_server.authn.tokens.enable_issuer:
            raise DISABLED
        user = user_of(request, self._context)
        body = _Body(await read_object(request, INVALID))
        name, groups, valid_s = body.text("name"), body.texts("groups"), body.duration("validFor")
        if not name:
            body.fault("name", "cannot be empty")
        if valid_s == 0:
            body.fault("validFor", "cannot be empty or nil")
        body.check()
        self._context.access.token(user, "GENERATE_USER_TOKEN")
        return self._issued(USER, user_claims(name, groups or ()), valid_s)

    async def who_am_i(self, request: web.Request) -> web.Response:
        user = user_of(request, self._context)
        return json_answer({"name": user.name, "groups": list(user.groups)})

    def _issued(self, keys: Keys, claims: dict[str, Any], valid_s: float) -> web.Response:
        try:
            token = issue(informed(self._context).view, keys, claims, int(time.time()), valid_s)
        except NoSigningKey as error:
            raise Problem(404, "Signing Key not found", str(error)) from error
        return web.Response(text=token, content_type="text/plain")


class _Body:
    """A request read field by field; `check` raises one Problem with all faults."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._faults: list[FieldError] = []

    def fault(self, field: str, reason: str) -> None:
        self._faults.append(FieldError(field, reason))

    def check(self) -> None:
        if self._faults:
            raise Problem(400, INVALID, "Resource is not valid", self._faults)

    def text(self, name: str) -> str:
        return self._read(name, "", lambda value: isinstance(value, str), "must be a text")

    def texts(self, name: str) -> list[str] | None:
        return self._read(name, cast(list[str] | None, None), _are_texts, "must be a list of texts")

    def tags(self, name: str) -> dict[str, list[str]]:
        def fits(value: Any) -> bool:
            return isinstance(value, dict) and all(map(_are_texts, value.values()))

        return self._read(name, cast(dict[str, list[str]], {}), fits, "must map each tag to a list of texts")

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        return self._read(
            name, "", allowed.__contains__, f"must be one of {', '.join(filter(None, allowed))}"
        )

    def duration(self, name: str) -> float:
        """Seconds; 0 when absent; NaN, and a fault, for what is none."""
        text = self.text(name)
        try:
            valid_s = parse_duration(text.removeprefix("-")) if text else 0.0
        except ValueError as error:
            self.fault(name, str(error))
            return math.nan
        if valid_s and text.startswith("-"):
            self.fault(name, "must be positive")
            return math.nan
        return valid_s

    def _read(self, name: str, default: T, fits: Callable[[Any], bool], reason: str) -> T:
        value: Any = self._given.get(name)
        if value is None:
            return default
        try:
            if fits(value):
                return cast(T, value)
        except TypeError:
            reason = f"{reason}, not {type(value).__name__}"
        self.fault(name, reason)
        return default


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
