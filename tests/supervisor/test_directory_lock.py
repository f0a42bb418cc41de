from __future__ import annotations

import errno
import fcntl
import os
import threading

import pytest

from fastlane.supervisor import directory_lock as module
from fastlane.supervisor.directory_lock import directory_lock


def is_free(directory) -> bool:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_one_at_a_time_has_it_and_nothing_is_left_behind(tmp_path):
    path = str(tmp_path / "s")
    order = []

    def second() -> None:
        with directory_lock(path):
            order.append("second")

    thread = threading.Thread(target=second)
    with directory_lock(path):
        assert not is_free(tmp_path)
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_whoever_keeps_it_for_long_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with directory_lock(str(tmp_path / "s")), directory_lock(str(tmp_path / "s")):
        assert not is_free(tmp_path)


def test_where_it_can_t_be_had_it_is_done_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with directory_lock(str(tmp_path / "s")):
        pass

    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr(os, "open", forbid)
    with directory_lock(str(tmp_path / "s")):
        pass


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), directory_lock(str(tmp_path / "none" / "s")):
        pass
