"""`/gui`: meshes, zones and proxies at a glance, as a page that fetches nothing but this API.

The shell is Kuma's: an element `kuma-config` tells the page where the API is and what it talks to. It is
one file without anything from elsewhere, so it works where there is no internet.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from aiohttp import web

from cp.api.context import Context
from cp.version import BASED_ON_KUMA, PRODUCT

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
DISABLED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>raftmesh</title>
<p>The GUI is disabled. Enable it with <code>apiServer.gui.enabled: true</code> or the environment variable
<code>KUMA_API_SERVER_GUI_ENABLED=true</code>.</p></html>
"""


def routes(context: Context) -> list[web.RouteDef]:
    text = page(context) if context.config.api_server.gui.enabled else DISABLED

    async def gui(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": POLICY})

    path = "/" + context.config.api_server.gui.base_path.strip("/")
    return [web.get(path, gui), web.get(path + "/{path:.*}", gui)]


def page(context: Context) -> str:
    """The page with what it has to know of this control plane."""
    config = json.dumps(settings(context)).replace("<", "\\u003c")  # it stands inside an element of HTML
    return files("cp.api").joinpath("gui.html").read_text().replace("%CONFIG%", config)


def settings(context: Context) -> dict[str, Any]:
    """What the element `kuma-config` holds."""
    config = context.config
    api = config.api_server
    return {
        "apiUrl": api.root_url or api.base_path.rstrip("/"),
        "baseGuiPath": api.gui.root_url or api.base_path.rstrip("/") + api.gui.base_path,
        "version": BASED_ON_KUMA,
        "product": PRODUCT,
        "mode": config.mode,
        "environment": config.environment,
        "storeType": "raft",
        "apiReadOnly": api.read_only,
    }
