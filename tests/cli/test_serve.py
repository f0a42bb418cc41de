"""``fastlane serve``: what it hands to the supervisor."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from fastlane.server.options import OPTIONS
from fastlane.supervisor import Settings
from fastlane_cli import serve
from fastlane_cli.flags import OptionCommand

from .conftest import Fastlane, Write


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Callable[[], Settings]]]:
    """What the supervisor was called with, instead of a supervisor."""
    calls: list[tuple[Settings, Callable[[], Settings]]] = []

    def run(settings: Settings, reread: Callable[[], Settings]) -> int:
        calls.append((settings, reread))
        return 7

    monkeypatch.setattr(serve, "run", run)
    monkeypatch.setattr(serve, "set_up_logging", lambda level, log_format: None)
    return calls


Started = list[tuple[Settings, Callable[[], Settings]]]


def test_the_supervisors_exit_code_is_the_commands(fastlane: Fastlane, started: Started) -> None:
    assert fastlane("serve", "blog:app").code == 7
    settings, _ = started[0]
    assert settings.name == "blog:app"
    assert settings.options["app"] == "blog:app"


def test_a_flag_beats_the_environment_which_beats_the_file(
    fastlane: Fastlane, write: Write, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("fastlane.toml", "[serve]\nport = 1\nbacklog = 1\ntimeout = 1\n")
    monkeypatch.setenv("FASTLANE_PORT", "2")
    monkeypatch.setenv("FASTLANE_BACKLOG", "2")
    fastlane("serve", "blog:app", "--port", "3")
    settings, _ = started[0]
    assert (settings.addresses[0].port, settings.backlog, settings.timeout) == (3, 2, 1.0)


def test_web_concurrency_counts(fastlane: Fastlane, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    fastlane("serve", "blog:app")
    assert started[0][0].workers == 5


def test_a_reload_reads_the_file_again(fastlane: Fastlane, write: Write, started: Started) -> None:
    write("other.toml", "[serve]\nworkers = 1\n")
    fastlane("serve", "blog:app", "-c", "other.toml")
    _, reread = started[0]
    write("other.toml", "[serve]\nworkers = 3\n")
    assert reread().workers == 3


def test_switches_can_be_turned_off(fastlane: Fastlane, started: Started) -> None:
    fastlane("serve", "blog:app", "--no-preload", "--no-access-log")
    settings, _ = started[0]
    assert settings.preload is False
    assert settings.options["serve"]["access_log"] is False  # type: ignore[index]


def test_an_unknown_flag_is_told_with_the_one_that_was_meant(fastlane: Fastlane, started: Started) -> None:
    outcome = fastlane("serve", "blog:app", "--max-request", "3")
    assert outcome.code == 2
    assert "--max-requests" in outcome.err
    assert started == []


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--reload", "'fastlane dev' starts again after every change"),
        ("--bind", "write --host and --port, or --uds"),
        ("-k", "there is one kind of worker"),
        ("--ssl-certfile", "write --certfile"),
    ],
)
def test_a_flag_of_another_server_is_answered_with_ours(
    fastlane: Fastlane, started: Started, flag: str, hint: str
) -> None:
    outcome = fastlane("serve", "blog:app", flag, "x")
    assert outcome.code == 2
    assert f"No such option '{flag}': {hint}" in outcome.err
    assert started == []


def test_a_variable_that_nobody_reads_is_logged(
    fastlane: Fastlane, started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTLANE_PROT", "3")
    assert fastlane("serve", "blog:app").code == 7
    assert caplog.messages == ["nobody reads the variable FASTLANE_PROT. Did you mean FASTLANE_PORT?"]


def test_a_value_that_does_not_fit_names_its_flag(fastlane: Fastlane, started: Started) -> None:
    outcome = fastlane("serve", "blog:app", "--keep-alive", "long")
    assert outcome.code == 2
    assert outcome.err.startswith("fastlane: --keep-alive: expected a duration")
    assert started == []


def test_windows_is_sent_to_dev(fastlane: Fastlane, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    outcome = fastlane("serve", "blog:app")
    assert outcome.code == 2
    assert "fastlane dev" in outcome.err


def test_every_option_of_the_table_is_a_flag_with_help_under_its_heading(fastlane: Fastlane) -> None:
    shown = fastlane("serve", "--help").out
    assert isinstance(serve.command, OptionCommand)
    for option in OPTIONS:
        assert option.flag in shown
        assert f"\n{option.section}:\n" in shown
        assert not option.negative_flag or option.negative_flag in shown
