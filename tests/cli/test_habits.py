"""What other tools taught people to type."""

from __future__ import annotations

import re

from fastlane.server.options import OPTIONS
from fastlane_cli.habits import _FOREIGN, misspelt_variables, option_hint

from .conftest import Fastlane


def test_every_hint_names_an_option_that_exists() -> None:
    flags = {flag for option in OPTIONS for flag in (option.flag, option.negative_flag)}
    named = {flag for hint in _FOREIGN.values() for flag in re.findall(r"--[a-z-]+", hint)}
    assert named - flags == set()
    assert set(_FOREIGN) & flags == set()


def test_dev_says_which_command_has_an_option_that_it_has_not(fastlane: Fastlane) -> None:
    assert (
        "No such option '--workers': only 'fastlane serve' has it.\n" in fastlane("dev", "blog", "--workers", "2").err
    )
    assert "No such option '-w': only 'fastlane serve' has it.\n" in fastlane("dev", "blog", "-w", "2").err


def test_an_option_that_nobody_has_gets_no_hint() -> None:
    assert option_hint("--frobnicate") == ""


def test_variables_of_other_tools_are_passed_over() -> None:
    environment = {"FASTLANE_SESSION": "", "FASTLANE_WORKERS": "2", "FASTLANE_LOGLEVEL": "", "PATH": "", "PORT": ""}
    assert list(misspelt_variables(environment)) == [
        "nobody reads the variable FASTLANE_LOGLEVEL. Did you mean FASTLANE_LOG_LEVEL?"
    ]
