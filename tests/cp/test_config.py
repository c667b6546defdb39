"""Reading settings: sources and their order, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cp.config import LEAVES, ConfigError, load, redacted
from cp.config_schema import Config
from cp.duration import format_duration, parse_duration


def problems(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None) -> list[str]:
    file = tmp_path / "cp.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return [line.replace(str(file), "FILE") for line in caught.value.problems]


def test_defaults_are_kumas() -> None:
    config = load(None, {}).config
    assert config == Config()
    assert (config.api_server.http.port, config.api_server.https.port) == (5681, 5682)
    assert (config.dp_server.port, config.diagnostics.server_port) == (5678, 5680)
    assert config.multizone.zone.name == "default"
    assert config.embedded


def test_file_then_kuma_environment_then_ours(tmp_path: Path) -> None:
    file = tmp_path / "cp.yaml"
    file.write_text("mode: global\napiServer: {http: {port: 1}}\ndpServer: {port: 1}\nworkers: 3\n")
    environ = {
        "KUMA_API_SERVER_HTTP_PORT": "2",
        "KUMA_DP_SERVER_PORT": "2",
        "RAFTMESH_DP_SERVER_PORT": "3",
        "KUMA_DATAPLANE_NAME": "not ours to judge",
    }
    config = load(file, environ).config
    assert (config.mode, config.workers) == ("global", 3)
    assert (config.api_server.http.port, config.dp_server.port) == (2, 3)


def test_every_setting_can_be_given_by_environment() -> None:
    assert len({leaf.env for leaf in LEAVES.values()}) == len(LEAVES)
    config = load(
        None,
        {
            "RAFTMESH_RAFT_PEERS": "b=h:1, c=[::1]:2",
            "RAFTMESH_RAFT_TLS_DIR": "/tls",
            "KUMA_DEFAULTS_SKIP_MESH_CREATION": "true",
            "RAFTMESH_RAFT_ELECTION_TIMEOUT": "30s",
            "KUMA_MULTIZONE_GLOBAL_KDS_GRPC_PORT": "7000",
            "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_VALIDATOR_PUBLIC_KEYS": '[{"kid": "1", "key": "k"}]',
        },
    )
    assert config.config.raft.peers == ("b=h:1", "c=[::1]:2")
    assert config.config.defaults.skip_mesh_creation is True
    assert config.config.raft.election_timeout == 30.0
    assert config.config.multizone.global_.kds.grpc_port == 7000
    assert config.config.dp_server.authn.dp_proxy.dp_token.validator.public_keys[0].kid == "1"


def test_all_problems_at_once_each_with_path_value_and_remedy(tmp_path: Path) -> None:
    text = "mode: zne\nworkers: many\nraft: {electionTimeout: 5 parsecs}\napiServer: {http: {port: 99999}}\n"
    assert problems(tmp_path, text, {"KUMA_DP_SERVER_PORT": "x"}) == [
        "mode: 'zne' is not allowed; allowed: zone, global (from FILE)",
        "workers: 'many' is not allowed; allowed: a whole number from 1 to 64 (from FILE)",
        "raft.electionTimeout: '5 parsecs' is not allowed; allowed: a duration from 100ms to 1m, "
        "such as 500ms, 10s, 5m or 72h (from FILE)",
        "apiServer.http.port: 99999 is not allowed; allowed: a whole number from 0 to 65535 (from FILE)",
        "dpServer.port: 'x' is not allowed; allowed: a whole number from 0 to 65535 (from KUMA_DP_SERVER_PORT)",
    ]


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("apiServer: {http: {prot: 1}}", {}, "apiServer.http.prot: no such setting; did you mean apiServer.http.port?"),
        ("nodeId: a", {}, "nodeId: no such setting; did you mean raft.nodeId?"),
        ("apiServer: 5", {}, "apiServer: expected a section of settings, found int 5"),
        ("- a", {}, "FILE: expected settings as `name: value`, found a list"),
        ("a: [", {}, "FILE: not YAML: while parsing a flow node"),
        ("mode: true", {}, "mode: True is not allowed; allowed: zone, global"),
        ("apiServer: {readOnly: perhaps}", {}, "apiServer.readOnly: 'perhaps' is not allowed; allowed: true, false"),
        ("raft: {peers: [x]}", {}, "raft.peers: 'x' is not ID=HOST:PORT, e.g. cp-2=10.0.0.2:5683"),
        ("raft: {peers: [b=h:1]}", {}, "raft.tlsDir: replicas speak mutual TLS"),
        ("raft: {listen: here}", {}, "raft.listen: 'here' is not HOST:PORT"),
        ("general: {tlsCertFile: /x}", {}, "general.tlsCertFile and general.tlsKeyFile must be given together"),
        ("multizone: {zone: {name: Zone_1}}", {}, "multizone.zone.name: 'Zone_1' must consist of lower case"),
        ("multizone: {zone: {globalAddress: 'x:1'}}", {}, "multizone.zone.globalAddress: 'x:1' must begin with grpcs://"),
        ("", {"RAFTMESH_RAFT_NODEID": ""}, "RAFTMESH_RAFT_NODEID: no such setting; did you mean RAFTMESH_RAFT_NODE_ID"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, environ: dict[str, str], expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(tmp_path, text, environ))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file or directory"):
        load(tmp_path / "absent.yaml", {})


def test_settings_that_only_kuma_has_are_warnings(tmp_path: Path) -> None:
    file = tmp_path / "cp.yaml"
    file.write_text(
        "mode: standalone\nstore: {type: postgres, unsafeDelete: true}\nexperimental: {deltaXds: true}\n"
    )
    loaded = load(file, {})
    assert loaded.config.mode == "zone"
    assert loaded.config.store.unsafe_delete is True
    assert [w.partition(":")[0] for w in loaded.warnings] == ["store.type", "experimental"]


def test_secrets_never_leave() -> None:
    config = load(None, {"KUMA_MULTIZONE_ZONE_KDS_TOKEN": "hunter2"}).config
    assert config.multizone.zone.kds.token == "hunter2"
    tree = redacted(config)
    assert "hunter2" not in str(tree)
    assert tree["multizone"]["zone"]["kds"]["token"] == "*****"
    assert tree["xdsServer"]["dataplaneDeregistrationDelay"] == "10s"
    assert tree["multizone"]["global"]["kds"]["grpcPort"] == 5685


@given(st.floats(min_value=1e-6, max_value=1e6).map(lambda s: round(s, 6)))
def test_durations_survive_a_round_trip(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-6)


@given(st.text())
def test_no_text_breaks_the_duration_parser(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert "is not a duration" in str(error)
