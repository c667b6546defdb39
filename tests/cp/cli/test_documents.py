from pathlib import Path

import pytest

from cp.cli.documents import read
from cp.cli.errors import CommandError


def test_many_documents_of_a_directory_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("type: Mesh\nname: b\n---\n---\ntype: Mesh\nname: c\n")
    (tmp_path / "a.yml").write_text("type: Mesh\nname: '{{ who }}'\ncreationTime: 2026-01-01T00:00:00Z\n")
    (tmp_path / "ignored.txt").write_text("not yaml: [")
    documents = read([str(tmp_path)], {"who": "a"})
    assert [document["name"] for document in documents] == ["a", "b", "c"]
    assert documents[0]["creationTime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type: Mesh\n---\na: [", r"resource\[1\]: failed to parse resource"),
        ("- 1", r"resource\[0\]: failed to parse resource: not a mapping"),
        ("", "no resource"),
        ("a: " + "[" * 100_000, "nests deeper than 64 levels"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(CommandError, match=said):
        read([str(path)], {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nothing.yaml: No such file"):
        read([str(tmp_path / "nothing.yaml")], {})
