"""One resource over HTTP: creating, reading, replacing, deleting, and each way it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cp.conftest import Api, ApiFactory

TIMEOUT = {
    "type": "MeshTimeout",
    "name": "t1",
    "mesh": "default",
    "spec": {
        "targetRef": {"kind": "Mesh"},
        "to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "20s"}}],
    },
}
T1 = "/meshes/default/meshtimeouts/t1"
PROCESS = "Could not process a resource"
NO_PATH = "there is no such path: "


def dataplane(name: str = "dp-1", **labels: str) -> dict[str, Any]:
    inbound = [{"port": 1234, "tags": {"kuma.io/service": "web"}}]
    document: dict[str, Any] = {"type": "Dataplane", "mesh": "default", "name": name}
    if labels:
        document["labels"] = labels
    return document | {"networking": {"address": "10.1.2.1", "inbound": inbound}}


async def test_create_read_replace_delete(api: Api) -> None:
    await api.mesh()
    created = await api.put(T1, TIMEOUT)
    assert (created.status, created.json) == (201, {})
    read = await api.get(T1)
    assert read.status == 200
    assert read.json["spec"] == TIMEOUT["spec"]
    assert read.json["kri"] == "kri_mt_default_default__t1_"
    assert read.json["labels"]["kuma.io/origin"] == "zone"
    assert read.index >= created.index
    replaced = await api.put(T1, TIMEOUT)
    assert (replaced.status, replaced.json) == (200, {})
    assert replaced.index > created.index
    deleted = await api.delete(T1)
    assert (deleted.status, deleted.json) == (200, {})
    gone = await api.get(T1)
    assert (gone.status, gone.json) == (
        404,
        {
            "type": "/std-errors",
            "status": 404,
            "title": "Could not retrieve a resource",
            "detail": "Not found",
            "details": "Not found",
        },
    )


async def test_times_are_the_logs(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT)
    first = (await api.get(T1)).json
    assert first["creationTime"] == first["modificationTime"] != "0001-01-01T00:00:00Z"


async def test_yaml_is_taken_too(api: Api) -> None:
    answer = await api.put(
        "/meshes/m1", "type: Mesh\nname: m1\n", headers={"Content-Type": "application/yaml"}
    )
    assert answer.status == 201


async def test_a_new_mesh_has_its_default_policies_in_one_event(api: Api) -> None:
    created = await api.put("/meshes/default", {"type": "Mesh", "name": "default"})
    names = [item["name"] for item in (await api.get("/meshes/default/meshtimeouts")).json["items"]]
    assert names == ["mesh-gateways-timeout-all-default", "mesh-timeout-all-default"]
    commit = (api.worker.live.history.after(created.index - 1))[0]
    assert {event.index for event in commit.events} == {created.index}
    assert len(commit.events) == 5
    again = await api.delete("/meshes/default")
    assert again.status == 200
    assert (await api.get("/meshtimeouts")).json["total"] == 0


async def test_default_mesh_is_created_at_start(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_DEFAULTS_SKIP_MESH_CREATION="false")
    assert await api.worker.live.wait_for(1, 60.0)
    assert (await api.get("/meshes/default")).status == 200


async def test_a_mesh_is_not_deleted_under_its_proxies(api: Api) -> None:
    await api.mesh()
    assert (await api.put("/meshes/default/dataplanes/dp-1", dataplane())).status == 201
    refused = await api.delete("/meshes/default")
    assert refused.status == 400
    assert refused.json["title"] == "Could not delete a resource"
    assert refused.json["invalid_parameters"] == [
        {"field": "mesh", "reason": "unable to delete mesh, there are still some dataplanes attached"}
    ]
    assert (await api.delete("/meshes/default/dataplanes/dp-1")).status == 200
    assert (await api.delete("/meshes/default")).status == 200


async def test_a_status_is_never_the_clients_to_set(api: Api) -> None:
    await api.mesh()
    body = {
        "type": "MeshExternalService",
        "name": "mes",
        "mesh": "default",
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 80, "protocol": "tcp"},
            "endpoints": [{"address": "example.com", "port": 80}],
        },
        "status": {"vip": {"ip": "240.0.0.1"}},
    }
    path = "/meshes/default/meshexternalservices/mes"
    assert (await api.put(path, body)).status == 201
    assert (await api.get(path)).json["status"] == {"vip": {}}


async def test_as_a_kubernetes_manifest(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT)
    manifest = (await api.get(T1 + "?format=k8s")).json
    assert (manifest["apiVersion"], manifest["kind"]) == ("kuma.io/v1alpha1", "MeshTimeout")
    assert (await api.get(T1 + "?format=xml")).json["invalid_parameters"][0]["field"] == "format"


async def test_found_by_kri(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT)
    assert (await api.get("/_kri/kri_mt_default_default__t1_")).json["name"] == "t1"
    assert (await api.get("/_kri/kri_mt_default_default__t2_")).status == 404
    assert (await api.get("/_kri/nonsense")).status == 400
    assert (await api.get("/_kri/kri_zzz_default___t1_")).status == 400


@pytest.mark.parametrize(
    ("path", "body", "status", "title", "detail"),
    [
        (T1, "{", 400, PROCESS, "the body is not JSON: "),
        (T1, "", 400, PROCESS, "the body is empty"),
        (T1, "[]", 400, PROCESS, "expected an object, found a list"),
        (T1, '{"type": "MeshNothing"}', 400, PROCESS, 'invalid resource type "MeshNothing"'),
        (T1, '{"type": "MeshRetry"}', 400, PROCESS, "Resource is not valid"),
        (T1, '{"type": "MeshTimeout", "name": "t2"}', 400, PROCESS, "Resource is not valid"),
        (T1, '{"type": "MeshTimeout", "spec": {"to": 5}}', 400, PROCESS, "Resource is not valid"),
        ("/meshes/other/meshtimeouts/t1", "{}", 400, "Could not create a resource", "Mesh is not found"),
        ("/meshes/default/meshtimeuts/t1", "{}", 404, "Not Found",
         f"{NO_PATH}/meshes/default/meshtimeuts/t1: unknown kind 'meshtimeuts'; did you mean meshtimeouts?"),
        ("/meshtimeouts/t1", "{}", 404, "Not Found", f"{NO_PATH}/meshtimeouts/t1: MeshTimeout is found under /meshes/"),
        ("/nothing", "{}", 405, "Method not Allowed", "PUT is not possible here; allowed: GET, HEAD"),
        (T1 + "/x/y", "{}", 404, "Not Found", f"{NO_PATH}{T1}/x/y"),
        ("/meshes/Not_A_Name", '{"type": "Mesh", "name": "Not_A_Name"}', 400, "Could not create a resource",
         "Resource is not valid"),
        ("/meshes/m1", '{"type": "Mesh"}', 400, PROCESS, "Resource is not valid"),
    ],
)  # fmt: skip
async def test_a_wrong_write_is_refused(
    api: Api, path: str, body: str, status: int, title: str, detail: str
) -> None:
    await api.mesh()
    answer = await api.put(path, body)
    assert (answer.status, answer.json["title"]) == (status, title), answer.text
    assert answer.json["detail"].startswith(detail)
    assert answer.json["status"] == status
    assert api.worker.live.index == answer.index


async def test_all_faults_of_a_document_at_once(api: Api) -> None:
    await api.mesh()
    body = dataplane()
    body["networking"]["inbound"] = [{"port": "y", "tags": {"kuma.io/service": 5}}, {"port": "x"}]
    answer = await api.put("/meshes/default/dataplanes/dp-1", body)
    assert answer.status == 400
    fields = {fault["field"] for fault in answer.json["invalid_parameters"]}
    assert {"networking.inbound[0].port", "networking.inbound[1].port"} <= fields
    assert any(field.startswith("networking.inbound[0].tags") for field in fields)
    assert [c["field"] for c in answer.json["causes"]] == [
        i["field"] for i in answer.json["invalid_parameters"]
    ]


async def test_malformed_bodies_name_the_position(api: Api) -> None:
    json_fault = await api.put("/meshes/m1", '{"type": "Mesh",\n "name": }')
    assert "at line 2, column" in json_fault.json["detail"]
    yaml_fault = await api.put(
        "/meshes/m1", "type: Mesh\nname: [", headers={"Content-Type": "application/yaml"}
    )
    assert "the body is not YAML" in yaml_fault.json["detail"]
    assert "at line" in yaml_fault.json["detail"]


# Nine levels of nine references: half a kilobyte that stands for gigabytes.
LAUGHS = b"l0: &l0 [x, x]\n" + b"".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n".encode() for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x" * (1 << 20) + b"x", "application/json", 413),
        (b"<a/>", "application/xml", 415),
        (b"[" * 100_000, "application/json", 400),
        (b"[" * 100_000, "application/yaml", 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "application/json", 400),
        (LAUGHS, "application/yaml", 400),
        (b"a: &a [*a]", "application/yaml", 400),
        (b"\xff\xfe", "application/yaml", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b'name: "\\ud800"', "application/yaml", 400),
        (b"a: .nan", "application/yaml", 400),
        (b"1: a", "application/yaml", 400),
        (b"a: !!python/object/apply:os.system [x]", "application/yaml", 400),
        (b"a: !!binary aGk=", "application/yaml", 400),
        (b"type: Mesh\n---\ntype: Mesh\n", "application/yaml", 400),
    ],
)  # fmt: skip
async def test_hostile_bodies(api: Api, body: bytes, content_type: str, status: int) -> None:
    answer = await api.put("/meshes/m1", body, headers={"Content-Type": content_type})
    assert answer.status == status, answer.text[:300]
    assert answer.json["type"] == "/std-errors"
    assert api.worker.live.index == 0


async def test_labels_that_never_change(api: Api) -> None:
    await api.mesh()
    path = "/meshes/default/dataplanes/dp-1"
    assert (await api.put(path, dataplane(**{"kuma.io/display-name": "a"}))).status == 201
    refused = await api.put(path, dataplane(**{"kuma.io/display-name": "b"}))
    assert refused.status == 400
    assert refused.json["title"] == "Could not update a resource"
    assert refused.json["invalid_parameters"] == [
        {
            "field": 'labels["kuma.io/display-name"]',
            "reason": 'is immutable, cannot be changed from "a" to "b"',
        }
    ]


async def test_a_workload_label_that_is_none(api: Api) -> None:
    await api.mesh()
    refused = await api.put(
        "/meshes/default/dataplanes/dp-1", dataplane(**{"kuma.io/workload": "MyWorkload"})
    )
    assert (refused.status, refused.json["title"]) == (400, "Bad Request")
    assert refused.json["detail"].startswith(
        'bad request: labels["kuma.io/workload"]: must be a valid DNS-1035'
    )


async def test_kinds_that_belong_to_the_other_side(make_api: ApiFactory) -> None:
    api = await make_api(
        RAFTMESH_MULTIZONE_ZONE_GLOBAL_ADDRESS="grpcs://global:5685", RAFTMESH_MULTIZONE_ZONE_NAME="east"
    )
    refused = await api.put("/meshes/m1", {"type": "Mesh", "name": "m1"})
    assert (refused.status, refused.json["title"]) == (405, "Method not Allowed")
    assert "only from the GLOBAL control plane and not from a ZONE" in refused.json["detail"]


async def test_a_read_only_api(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_API_SERVER_READ_ONLY="true")
    refused = await api.put("/meshes/m1", {"type": "Mesh", "name": "m1"})
    assert (refused.status, refused.json["title"]) == (405, "Method not Allowed")
    assert (await api.delete("/meshes/m1")).status == 405


async def test_a_read_only_api_does_not_keep_the_control_plane_from_its_own_writes(
    make_api: ApiFactory,
) -> None:
    api = await make_api(RAFTMESH_API_SERVER_READ_ONLY="true", RAFTMESH_DEFAULTS_SKIP_MESH_CREATION="false")
    assert await api.worker.live.wait_for(1, 60.0)
    assert (await api.get("/meshes/default")).status == 200


async def test_a_name_of_a_federated_zone_has_to_fit_on_global(make_api: ApiFactory) -> None:
    """There it is called `<zone>.<name>`."""
    api = await make_api(
        RAFTMESH_MULTIZONE_ZONE_GLOBAL_ADDRESS="grpcs://global:5685", RAFTMESH_MULTIZONE_ZONE_NAME="east"
    )
    for length, status in ((247, 201), (248, 400)):
        name = "a" * length
        answer = await api.put(
            f"/zone-ingresses/{name}", {"type": "ZoneIngress", "name": name, "networking": INGRESS}
        )
        assert answer.status == status, answer.text
    assert answer.json["title"] == "Could not process a resource"
    assert answer.json["invalid_parameters"] == [
        {"field": "name", "reason": "the length of the name must be shorter"}
    ]
    alone = await make_api(RAFTMESH_MULTIZONE_ZONE_NAME="east")
    body = {"type": "ZoneIngress", "name": name, "networking": INGRESS}
    assert (await alone.put(f"/zone-ingresses/{name}", body)).status == 201


async def test_a_secret_that_a_mesh_uses_is_not_deleted(api: Api) -> None:
    backend = {"name": "ca", "type": "provided", "conf": {"cert": {"secret": "c"}, "key": {"secret": "k"}}}
    assert (await api.put("/meshes/m", {"type": "Mesh", "name": "m"})).status == 201
    for name in ("c", "k", "other"):
        secret = {"type": "Secret", "mesh": "m", "name": name, "data": "YQ=="}
        assert (await api.put(f"/meshes/m/secrets/{name}", secret)).status == 201
    using = {"type": "Mesh", "name": "m", "mtls": {"enabledBackend": "ca", "backends": [backend]}}
    assert (await api.put("/meshes/m", using)).status == 200
    refused = await api.delete("/meshes/m/secrets/c")
    assert (refused.status, refused.json["title"]) == (400, "Could not delete a resource")
    assert "currently in use in Mesh" in refused.json["invalid_parameters"][0]["reason"]
    assert (await api.delete("/meshes/m/secrets/other")).status == 200
    assert (await api.delete("/meshes/m")).status == 200  # with all that it owns


INGRESS = {"address": "10.0.0.1", "port": 10001}
