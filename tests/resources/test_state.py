"""The state directory of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlane.errors import ConfigurationError
from fastlane.resources.state import state_directory


def test_it_is_made_for_its_user_alone_and_ignored_by_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "of a" / "project"))
    path = state_directory()
    assert path.stat().st_mode & 0o777 == 0o700
    assert (path / ".gitignore").read_text() == "*\n"
    assert state_directory() == path


def test_where_it_can_not_be_made_the_mend_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(ConfigurationError, match=r"can't be used: Not a directory\n    mend: .* FASTLANE_STATE"):
        state_directory()


def test_one_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigurationError, match="this user may not write there"):
        state_directory()
