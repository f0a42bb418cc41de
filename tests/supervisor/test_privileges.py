from __future__ import annotations

import os

import pytest

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.privileges import drop_privileges, resolve_account


def test_nothing_asked_is_nothing_changed():
    assert resolve_account(None, None) == (None, None)
    drop_privileges(None, None)


def test_a_user_brings_its_group():
    assert resolve_account("root", None) == (0, 0)
    assert resolve_account("0", None) == (0, 0)
    assert resolve_account("root", "7") == (0, 7)
    assert resolve_account(None, "root") == (None, 0)


def test_a_number_needs_no_name():
    assert resolve_account("54321", None) == (54321, None)


@pytest.mark.parametrize(
    ("user", "group", "text"), [("nobody-at-all", None, "no such user"), (None, "none", "no such group")]
)
def test_an_unknown_name_is_a_failure_with_2(user, group, text):
    with pytest.raises(BootFailure, match=text) as caught:
        resolve_account(user, group)
    assert caught.value.exit_code == 2


@pytest.fixture
def calls(monkeypatch):
    made: list[tuple[str, object]] = []
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "of whoever started it")
    for name in ("setgid", "setgroups", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: made.append((name, value)))
    return made


def test_groups_go_first_and_the_user_last(calls, monkeypatch):
    monkeypatch.setattr(os, "getgrouplist", lambda user, gid: [gid, 44])
    monkeypatch.setattr(os, "getuid", lambda: 1)
    drop_privileges("root", "7")
    assert calls == [("setgid", 7), ("setgroups", [7, 44]), ("setuid", 0)]


@pytest.mark.parametrize(("user", "home"), [("root", "/root"), ("54321", "/")])
def test_home_is_the_users(calls, monkeypatch, user, home):
    monkeypatch.setattr(os, "getuid", lambda: 1)
    drop_privileges(user, "7")
    assert os.environ["HOME"] == home


def test_a_group_alone_keeps_the_user(calls):
    drop_privileges(None, "54321")
    assert calls == [("setgid", 54321), ("setgroups", [54321])]


def test_who_is_that_user_already_changes_nothing(calls):
    drop_privileges(str(os.getuid()), str(os.getgid()))
    assert calls == []


def test_who_is_not_root_is_told(monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(os, "setuid", refuse)
    with pytest.raises(BootFailure, match="need root") as caught:
        drop_privileges("54321", None)
    assert caught.value.exit_code == 2
