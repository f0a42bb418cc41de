"""The command: its verbs, its messages and its exit codes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from fastlane_cli.main import VERBS

from .conftest import Fastlane, Write


def test_help_names_every_verb_and_version_names_the_version(fastlane: Fastlane) -> None:
    shown = fastlane("--help")
    assert shown.code == 0
    assert all(verb in shown.out for verb in VERBS)
    assert fastlane("--version").out.startswith(f"fastlane {version('fastlane-asgi')} (Python 3.")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(fastlane: Fastlane, verb: str) -> None:
    shown = fastlane(verb, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: fastlane {verb} [OPTIONS]")


def test_an_unknown_verb_is_a_bad_option(fastlane: Fastlane) -> None:
    outcome = fastlane("srve", "blog")
    assert outcome.code == 2
    assert "No such command 'srve'" in outcome.err


def test_an_application_that_is_not_there_ends_with_4_and_one_message(fastlane: Fastlane) -> None:
    outcome = fastlane("routes", "nowhere:app")
    assert outcome.code == 4
    assert outcome.err.startswith("fastlane: there is no module 'nowhere' in ")
    assert outcome.err.count("\n") == 1


def test_a_configuration_that_cannot_be_used_ends_with_2(fastlane: Fastlane, write: Write) -> None:
    write("fastlane.toml", "[serve]\nworkers = 'many'\n")
    outcome = fastlane("serve", "blog:app")
    assert outcome.code == 2
    assert outcome.err.startswith("fastlane: fastlane.toml: serve.workers: expected auto, or a whole number")


@pytest.mark.process
def test_python_m_fastlane_is_the_same_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "fastlane", "--version"], capture_output=True, text=True, timeout=30)
    assert shown.stdout.startswith("fastlane ")


@pytest.mark.process
def test_the_command_line_alone_loads_no_server_and_no_application() -> None:
    code = "import sys, fastlane_cli.main; print({'uvicorn', 'asyncio', 'fastlane.app'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert shown.stdout == "set()\n"
