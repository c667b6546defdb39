"""The main of a store process: exit statuses and what is said. Its life is in tests/process."""

from __future__ import annotations

import pytest

from raftstore import store_process
from raftstore.certs import BadCertificate
from raftstore.errors import Corrupt, DataDirInUse, DiskFailed, StoreError, WrongDataDir
from raftstore.settings import BadConfig
from raftstore.store_process import Exit, exit_of, main, say
from raftstore.transport import AddressInUse


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadConfig("x"), Exit.BAD_CONFIG),
        (AddressInUse("x"), Exit.ADDRESS_IN_USE),
        (DataDirInUse("x"), Exit.DATA_DIR_IN_USE),
        (Corrupt("x"), Exit.CORRUPT),
        (BadCertificate("x"), Exit.BAD_CERTIFICATE),
        (WrongDataDir("x"), Exit.WRONG_DATA_DIR),
        (DiskFailed("x"), Exit.DISK),
        (StoreError("x"), Exit.BUG),
        (KeyError("x"), Exit.BUG),
    ],
)
def test_each_reason_has_its_status(error: Exception, code: Exit) -> None:
    assert exit_of(error) is code


def test_statuses_differ_and_the_manual_names_them() -> None:
    assert len({int(code) for code in Exit}) == len(Exit)
    assert all(f"{int(code):3}  {code.name.lower()}" in (store_process.__doc__ or "") for code in Exit)


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("n1", Corrupt("one\n  two\nthree"))
    assert capsys.readouterr().err == "raftstore: n1 cannot run: one two three\n"
    say("", KeyError())
    assert capsys.readouterr().err == "raftstore: replica cannot run: KeyError\n"


def test_a_bad_configuration_ends_before_anything_begins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config-json", "{}"]) == Exit.BAD_CONFIG
    assert "node_id: must be set" in capsys.readouterr().err
