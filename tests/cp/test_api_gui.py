"""The page: what it is told, that it needs nothing from elsewhere, and what stands there when it is off."""

from __future__ import annotations

import json
import re

from tests.cp.conftest import ApiFactory


async def test_the_page_knows_its_control_plane(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_MODE="global", RAFTMESH_API_SERVER_BASE_PATH="/mesh-api/")
    for path in ("/gui", "/gui/", "/gui/meshes/default"):
        page = await api.get("/mesh-api" + path)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "http:" not in page.text and "https:" not in page.text
    [config] = re.findall(r'<script id="kuma-config" type="application/json">(.*?)</script>', page.text)
    assert json.loads(config) == {
        "apiUrl": "/mesh-api",
        "baseGuiPath": "/mesh-api/gui",
        "version": "2.14.3",
        "product": "Kuma",
        "mode": "global",
        "environment": "universal",
        "storeType": "raft",
        "apiReadOnly": False,
    }


async def test_a_setting_cannot_end_the_element_that_holds_it(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_API_SERVER_ROOT_URL="https://mesh.example/</script><b>")
    page = (await api.get("/gui")).text
    assert page.count("</script>") == 2 and "<b>" not in page


async def test_a_page_that_is_off_says_how_to_have_it(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_API_SERVER_GUI_ENABLED="false")
    page = await api.get("/gui")
    assert page.status == 200 and "KUMA_API_SERVER_GUI_ENABLED=true" in page.text
    assert (await api.get("/")).json["gui"] == ""
