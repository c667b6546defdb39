"""Kubernetes manifests, in and out."""

from __future__ import annotations

from mesh.codec import decode, to_kubernetes
from mesh.resource import Resource, ResourceKey


def test_kubernetes_manifests_of_people() -> None:
    manifest = {
        "apiVersion": "kuma.io/v1alpha1",
        "kind": "MeshTimeout",
        "metadata": {"name": "t", "namespace": "kuma-system", "labels": {"kuma.io/mesh": "m"}},
        "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}]},
    }
    resource = decode(manifest)
    assert resource.key == ResourceKey("MeshTimeout", "m", "t")
    assert resource.labels["k8s.kuma.io/namespace"] == "kuma-system"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"kuma.io/mesh": "m"}},
        "type": "system.kuma.io/secret",
        "data": {"value": "eA=="},
    }
    assert decode(secret).spec.data == "eA=="
    assert decode({**secret, "type": "system.kuma.io/global-secret"}).kind == "GlobalSecret"


def test_a_manifest_of_a_policy() -> None:
    labels = {"k8s.kuma.io/namespace": "ns", "kuma.io/display-name": "t", "team": "a"}
    spec = decode({"type": "MeshTimeout", "name": "t", "spec": {}}).spec
    manifest = to_kubernetes(Resource("MeshTimeout", "m", "t", labels, spec, None, 1, 1_500, 1_500))
    assert manifest == {
        "apiVersion": "kuma.io/v1alpha1",
        "kind": "MeshTimeout",
        "metadata": {
            "name": "t",
            "namespace": "ns",
            "creationTimestamp": "1970-01-01T00:00:01Z",
            "labels": {"kuma.io/mesh": "m", "team": "a"},
        },
        "spec": {},
    }


def test_the_mesh_of_an_old_kind_stands_beside_its_spec() -> None:
    manifest = to_kubernetes(decode({"type": "Dataplane", "mesh": "m", "name": "dp", "networking": {}}))
    assert (manifest["mesh"], manifest["spec"]) == ("m", {"networking": {}})
    del manifest["metadata"]["labels"]
    assert decode(manifest).key == ResourceKey("Dataplane", "m", "dp")
