from __future__ import annotations

import os

import pytest

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.pid_file import PidFile
from tests.supervisor.latecomer import kept_waiting


def test_the_file_holds_the_process_id_and_goes_with_the_server(tmp_path):
    file = PidFile(str(tmp_path / "pid"))
    file.write()
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    file.promote()
    file.remove()
    assert list(tmp_path.iterdir()) == []
    file.remove()


@pytest.mark.parametrize("left", ["", "nonsense", "999999999\n", f"{os.getpid()}\n"])
def test_what_a_dead_server_left_behind_is_replaced(tmp_path, left):
    (tmp_path / "pid").write_text(left)
    PidFile(str(tmp_path / "pid")).write()
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"


def test_a_server_that_runs_is_not_overwritten(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getppid()}\n")
    with pytest.raises(BootFailure, match=f"pid {os.getppid()}") as caught:
        PidFile(str(tmp_path / "pid")).write()
    assert caught.value.exit_code == 3


def test_of_two_that_start_at_once_the_second_sees_the_first(tmp_path, monkeypatch):
    path = tmp_path / "pid"
    with kept_waiting(PidFile(str(path)).write, path, monkeypatch) as failures:
        path.write_text(f"{os.getppid()}\n")
    assert f"pid {os.getppid()}" in failures[0]
    assert path.read_text() == f"{os.getppid()}\n"


def test_a_server_of_another_user_runs_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    (tmp_path / "pid").write_text("1\n")
    with pytest.raises(BootFailure):
        PidFile(str(tmp_path / "pid")).write()


def test_a_directory_that_is_not_there_is_a_failure(tmp_path):
    with pytest.raises(BootFailure, match="can't be written"):
        PidFile(str(tmp_path / "none" / "pid")).write()


def test_beside_its_predecessor_it_is_named_2_until_that_is_gone(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getppid()}\n")
    file = PidFile(str(tmp_path / "pid"), predecessor=os.getppid())
    file.write()
    assert (tmp_path / "pid.2").read_text() == f"{os.getpid()}\n"
    file.promote()
    assert (tmp_path / "pid.2").exists()
    (tmp_path / "pid").unlink()
    file.promote()
    assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / "pid.2").exists()
    file.remove()


def test_a_file_that_somebody_else_has_written_stays(tmp_path):
    file = PidFile(str(tmp_path / "pid"))
    file.write()
    (tmp_path / "pid").write_text("1\n")
    file.remove()
    assert (tmp_path / "pid").exists()
