from pathlib import Path

import pytest

from dp.errors import BadInput
from dp.options import check_addresses, load_resource, parse_variables, read_limited, render_template

DATAPLANE = """
type: Dataplane
mesh: default
name: {{ name }}
networking:
  address: 127.0.0.1
  inbound:
  - port: {{port}}
    servicePort: 9000
    tags: {kuma.io/service: web, kuma.io/protocol: http}
"""
VARIABLES = {"name": "web-1", "port": "10000"}


def test_a_dataplane_is_rendered_decoded_and_checked() -> None:
    resource = load_resource(DATAPLANE, VARIABLES, "dataplane")
    assert (resource["type"], resource["mesh"], resource["name"]) == ("Dataplane", "default", "web-1")
    assert resource["networking"]["inbound"][0]["port"] == 10000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", r"not valid YAML: while parsing a flow node expected .* line 1, column 5"),
        ("- a\n- b", "must be one YAML mapping"),
        ("type: Mesh\nname: m", "type: must be Dataplane"),
        ("type: Dataplane\nmesh: m\nname: {{ who }}", "who"),
        (DATAPLANE.replace("{{port}}", "notaport"), "networking.inbound[0].port"),
    ],
)
def test_a_bad_dataplane_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("[", r"\[")):
        load_resource(text, VARIABLES, "dataplane")


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(BadInput, match="a, b"):
        render_template("{{ b }} {{a}} {{ c }}", {"c": "x"})


@pytest.mark.parametrize("pair", ["novalue", "=x"])
def test_a_variable_needs_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(BadInput, match="name=value"):
        parse_variables([pair])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_variables(["a=b=c"]) == {"a": "b=c"}


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1:5678", "http://cp:5678", "https://cp", "https://cp:x", "https://cp:5678/x"]
)
def test_an_address_must_be_https_with_host_and_port(address: str) -> None:
    with pytest.raises(BadInput, match="https://HOST:PORT"):
        check_addresses([address])


def test_addresses_keep_their_order() -> None:
    assert check_addresses(["https://b:5678/", "https://a:5678"]) == ("https://b:5678", "https://a:5678")


def test_no_address_is_an_error() -> None:
    with pytest.raises(BadInput, match="--cp-address"):
        check_addresses([])


def test_a_file_that_is_missing_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--dataplane-file .*nothing: No such file"):
        read_limited(str(tmp_path / "nothing"), 10, "--dataplane-file")
    large = tmp_path / "large"
    large.write_bytes(b"x" * 11)
    with pytest.raises(BadInput, match="larger than 10 bytes"):
        read_limited(str(large), 10, "--dataplane-file")
