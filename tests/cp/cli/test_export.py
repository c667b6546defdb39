"""export: what it prints can be applied to an empty cluster, and is then equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cp.cli.export import arranged, choose
from tests.cp.cli.conftest import Cli
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_dryrun import proxy, timeout

KEY = "dGVzdAo="
MTLS = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}


def secret(name: str, mesh: str = "default") -> dict[str, Any]:
    return {"type": "Secret", "mesh": mesh, "name": name, "data": KEY}


DOCUMENTS: list[dict[str, Any]] = [
    {"type": "Mesh", "name": "default", "mtls": MTLS},
    {"type": "Mesh", "name": "empty", "skipCreatingInitialPolicies": ["*"]},
    timeout(3) | {"labels": {"team": "x"}},
    proxy("web", "web"),
    secret("default.ca-builtin-cert-ca-1"),
    secret("default.ca-builtin-key-ca-1"),
    {"type": "GlobalSecret", "name": "user-token-signing-key-9", "data": KEY},
    {"type": "GlobalSecret", "name": "zz-after-the-keys-by-name", "data": KEY},
    {"type": "GlobalSecret", "name": "envoy-admin-ca", "data": KEY},
    {
        "type": "MeshExternalService",
        "mesh": "default",
        "name": "out",
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"},
            "endpoints": [{"address": "example.com", "port": 80}],
        },
    },
]


@pytest.fixture
async def source(make_api: ApiFactory) -> Api:
    api = await make_api()
    answer = await api.call("POST", "/transactions", DOCUMENTS)
    assert answer.status == 200, answer.text
    return api


def timeless(text: str) -> list[Any]:
    """The documents without what says when and where they were written."""
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        for name in ("creationTime", "modificationTime"):
            document.pop(name, None)
    return documents


async def test_applied_to_an_empty_cluster_it_is_equal(
    source: Api, make_api: ApiFactory, cli: Cli, tmp_path: Path
) -> None:
    exported = await cli("export", "--profile", "all", "-a", api=source)
    assert (exported.status, exported.err) == (0, "")
    assert exported.out.startswith("# Product: Kuma, Version: 2.14.3, Hostname: ")
    file = tmp_path / "all.yaml"
    file.write_text(exported.out)
    target = await make_api()
    applied = await cli("apply", "-f", str(file), api=target)
    assert applied.status == 0, applied.err
    again = await cli("export", "--profile", "all", "-a", api=target)
    assert timeless(again.out) == timeless(exported.out)
    there = {(each["type"], each.get("mesh", ""), each["name"]) for each in timeless(again.out)}
    wanted = {(each["type"], each.get("mesh", ""), each["name"]) for each in DOCUMENTS}
    assert wanted - there == {("GlobalSecret", "", "envoy-admin-ca")}
    assert len([each for each in there if each[1] == "default"]) > 6  # the default policies, too


async def test_a_federation_export_is_taken_by_a_global(
    source: Api, make_api: ApiFactory, cli: Cli, tmp_path: Path
) -> None:
    exported = await cli("export", "--profile", "federation-with-policies", api=source)
    documents = timeless(exported.out)
    names = [each["name"] for each in documents]
    assert names[:2] == ["default", "empty"]
    assert names[-1] == "user-token-signing-key-9"
    assert documents[0]["skipCreatingInitialPolicies"] == ["*"]
    assert documents[0]["mtls"]["backends"][0] == {
        "name": "ca-1",
        "type": "provided",
        "conf": {
            "cert": {"secret": "default.ca-builtin-cert-ca-1"},
            "key": {"secret": "default.ca-builtin-key-ca-1"},
        },
    }
    assert not any("kuma.io/origin" in each.get("labels", {}) for each in documents)
    assert "Dataplane" not in {each["type"] for each in documents}
    file = tmp_path / "federation.yaml"
    file.write_text(exported.out)
    above = await make_api(KUMA_MODE="global")
    applied = await cli("apply", "-f", str(file), api=above)
    assert applied.status == 0, applied.err
    assert (await above.get("/meshes/default/meshtimeouts/t1")).json["labels"]["team"] == "x"


async def test_profiles(source: Api, cli: Cli) -> None:
    async def kinds(*flags: str) -> set[str]:
        return {each["type"] for each in timeless((await cli("export", *flags, api=source)).out)}

    assert await kinds() == {"Mesh", "Secret", "GlobalSecret", "MeshExternalService"}
    everything = await kinds("--profile=all")
    assert {"Mesh", "Dataplane", "MeshTimeout", "MeshRetry"} <= everything
    assert not everything & {"Secret", "GlobalSecret", "MeshInsight", "DataplaneInsight"}
    assert everything - await kinds("--profile=no-dataplanes") == {"Dataplane"}


async def test_the_past(source: Api, cli: Cli) -> None:
    index = str(source.worker.live.index)
    await source.delete("/meshes/default/meshtimeouts/t1")
    now, then = [(await cli("export", "-p", "all", *at, api=source)).out for at in ((), ("--at", index))]
    assert "name: t1\n" not in now
    assert "name: t1\n" in then


async def test_the_form_of_kubernetes_can_be_applied_too(
    source: Api, make_api: ApiFactory, cli: Cli, tmp_path: Path
) -> None:
    exported = await cli("export", "-p", "no-dataplanes", "-a", "-f", "kubernetes", api=source)
    manifests = list(yaml.safe_load_all(exported.out))
    assert {each["apiVersion"] for each in manifests} == {"kuma.io/v1alpha1", "v1"}
    policy = next(each for each in manifests if each["kind"] == "MeshTimeout")
    assert policy["metadata"]["namespace"] == "kuma-system"
    file = tmp_path / "k8s.yaml"
    file.write_text(exported.out)
    target = await make_api()
    applied = await cli("apply", "-f", str(file), api=target)
    assert applied.status == 0, applied.err
    assert (await target.get("/meshes/default/secrets/default.ca-builtin-key-ca-1")).json["data"] == KEY


@pytest.mark.parametrize("flags", [("--profile", "some"), ("--format", "toml")])
async def test_what_there_is_not(source: Api, cli: Cli, flags: tuple[str, str]) -> None:
    ran = await cli("export", *flags, api=source)
    assert (ran.status, ran.err.startswith(f'Error: invalid {flags[0][2:]}: "{flags[1]}"')) == (1, True)


def test_kinds_that_are_unknown_here_are_named() -> None:
    served = {"resources": [{"name": "TrafficRoute"}, {"name": "Mesh", "includeInFederation": True}]}
    chosen = choose(served, "federation", False)
    assert ([kind.name for kind in chosen.kinds], chosen.unknown) == (["Mesh"], ["TrafficRoute"])


def test_a_builtin_authority_without_its_secrets_stays() -> None:
    mesh = {"type": "Mesh", "name": "m", "mtls": MTLS}
    assert arranged([mesh], "federation")[0]["mtls"] == MTLS
