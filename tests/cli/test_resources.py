"""What the verbs about resources have in common: their options, and how failures are told."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import asyncpg
import click
import pytest

from fastlane.errors import ConfigurationError, Unavailable
from fastlane.redaction import hide, unhide
from fastlane_cli.resources import is_embedded, known_failures_told, run
from tests.cli.shop import Shop


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable("nobody is there"), "nobody is there"),
        (NotImplementedError("this broker can't"), "this broker can't"),
        (TimeoutError(), "there was no answer in time"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (asyncpg.InsufficientPrivilegeError("must be owner"), "InsufficientPrivilegeError: must be owner"),
        (asyncpg.InterfaceError("connection is closed"), "InterfaceError: connection is closed"),
    ],
)
def test_a_known_failure_is_one_message_and_exit_code_1(error: Exception, told: str) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(click.ClickException) as caught:
        run(fail())
    assert (caught.value.message, caught.value.exit_code) == (told, 1)


@pytest.mark.parametrize(
    "error", [ConfigurationError("a mistake"), BrokenPipeError(errno.EPIPE, "gone"), ZeroDivisionError("a bug")]
)
def test_what_others_tell_and_what_nobody_knows_passes(error: Exception) -> None:
    with pytest.raises(type(error)), known_failures_told():
        raise error


def test_no_password_is_in_a_message() -> None:
    hide("PASSWORD", "hunter2-hunter2")
    try:
        with pytest.raises(click.ClickException, match=r"at \*\*\*PASSWORD\*\*\*"), known_failures_told():
            raise Unavailable("at hunter2-hunter2")
    finally:
        unhide("PASSWORD", "hunter2-hunter2")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("Yes", True), ("0", False), ("", False)])
def test_a_variable_says_embedded_as_the_option_does(
    value: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLANE_EMBEDDED", value)
    assert is_embedded(False, False) is expected
    assert is_embedded(True, False)
    assert is_embedded(False, True)


def test_run_answers_what_the_coroutine_does() -> None:
    assert run(asyncio.sleep(0, "done")) == "done"


@pytest.mark.process
def test_a_mistake_of_the_configuration_ends_with_2_whatever_the_verb(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for arguments in (("pubsub", "list"), ("sql", "status"), ("cron", "history")):
        outcome = shop.run(*arguments, "shop:app")
        assert outcome.code == 2
        assert "database 'blog', declared at " in outcome.err
        assert "or start with --embedded" in outcome.err
    assert shop.run("sql", "status", "shop:app", "-c", "none.toml").err == (
        "fastlane: --config: there is no file 'none.toml'\n"
    )
    assert shop.run("sql", "status", "nowhere:app").code == 4
    assert os.listdir(tmp_path / "migrations") != []
