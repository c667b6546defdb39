from pathlib import Path

import pytest

from cp.cli.contexts import DEFAULT_ADDRESS, ContextFile, ControlPlane, address_of
from cp.cli.errors import CommandError

PROD = ControlPlane(
    "prod", ("https://a:5682", "https://b:5682"), ca_cert_file="/ca.pem", token="t", headers={"x": "y"}
)


def test_without_a_file_it_is_the_local_control_plane(tmp_path: Path) -> None:
    assert ContextFile(tmp_path / "none").current().addresses == (DEFAULT_ADDRESS,)


def test_a_control_plane_survives_the_file(tmp_path: Path) -> None:
    file = ContextFile(tmp_path / "dir" / "config")
    file.add(PROD, overwrite=False)
    file.write()
    assert ContextFile(file.path).current() == PROD
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_adding_twice_needs_overwrite(tmp_path: Path) -> None:
    file = ContextFile(tmp_path / "config")
    file.add(PROD, overwrite=False)
    with pytest.raises(CommandError, match="already exists"):
        file.add(PROD, overwrite=False)
    file.add(ControlPlane("prod", ("http://c:5681",)), overwrite=True)
    assert [each.addresses for each in file.control_planes()] == [("http://c:5681",)]


def test_forgetting_the_current_one_leaves_none_current(tmp_path: Path) -> None:
    file = ContextFile(tmp_path / "config")
    file.add(PROD, overwrite=False)
    assert file.forget("prod")
    assert not file.forget("prod")
    assert file.current().addresses == (DEFAULT_ADDRESS,)


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="'nope'"):
        ContextFile(tmp_path / "config").current("nope")


@pytest.mark.parametrize("content", ["a: [", "- 1"])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(CommandError, match=str(path)):
        ContextFile(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("controlPlanes: 5", "Expected `array | null`, got `int` - at `$.controlPlanes`"),
        ("contexts: [x]", "at `$.contexts["),
        ("controlPlanes: [{name: p, coordinates: 7}]", "].coordinates`"),
        ("controlPlanes: [{name: p, coordinates: {apiServer: {headers: {a: b}}}}]", "apiServer.headers`"),
        ("[1", "cannot read the configuration"),
        ("[1]", "is not a YAML mapping"),
    ],
)
def test_a_file_of_another_form_is_told_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(CommandError) as raised:
        ContextFile(tmp_path / "config")
    assert said in str(raised.value)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    file = ContextFile(tmp_path / "none")
    file.path = tmp_path / "taken" / "config"
    with pytest.raises(CommandError, match="cannot write the configuration"):
        file.write()


@pytest.mark.parametrize("text", ["nonsense", "ftp://x", "http://", "http:///x", ""])
def test_an_address_is_a_url(text: str) -> None:
    with pytest.raises(CommandError, match="must be a URL"):
        address_of(text)
    assert address_of("https://a:5682/") == "https://a:5682"
