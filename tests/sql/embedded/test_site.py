"""Where the embedded server of a state directory keeps its data."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastlane.sql.embedded import site
from fastlane.sql.embedded.account import Account, server_account
from fastlane.sql.embedded.binaries import find_binaries


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """One that has its data outside of the state directory, as root's has."""
    monkeypatch.setattr(site, "_SYSTEM_DIRECTORY", tmp_path / "system")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for sockets, whose paths are short
    ours = server_account()
    return ours._replace(is_dropped=True)


def chosen(state: Path, account: Account) -> Path:
    state.mkdir(exist_ok=True)
    return site.choose_site(state, find_binaries(), account).data


def test_a_state_directory_finds_its_data_again(tmp_path: Path, account: Account) -> None:
    first = chosen(tmp_path / "state", account)
    assert first.is_relative_to(tmp_path / "system")
    assert chosen(tmp_path / "state", account) == first


def test_one_that_is_made_anew_at_the_same_path_does_not_find_the_data_of_the_old(
    tmp_path: Path, account: Account
) -> None:
    first = chosen(tmp_path / "state", account)
    shutil.rmtree(tmp_path / "state")
    assert chosen(tmp_path / "state", account) != first


def test_a_copy_of_a_state_directory_does_not_share_the_data(tmp_path: Path, account: Account) -> None:
    first = chosen(tmp_path / "state", account)
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    assert chosen(tmp_path / "copy", account) != first


def test_processes_that_start_at_once_agree(tmp_path: Path, account: Account) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: chosen(state, account), range(16)))) == 1
    assert [path.name for path in state.iterdir()] == ["identity"]
