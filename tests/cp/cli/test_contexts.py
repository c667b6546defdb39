from pathlib import Path

import pytest

from cp.cli.contexts import DEFAULT_ADDRESS, ContextFile, ControlPlane
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
