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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("srve", "blog"), "fastlane serve blog"),
        (("run", "blog:app", "--port", "1"), "fastlane serve blog:app --port 1"),
        (("blog:app",), "fastlane dev blog:app"),
        (("src/blog.py",), "fastlane dev src/blog.py"),
    ],
)
def test_an_unknown_verb_is_told_with_the_command_that_was_meant(
    fastlane: Fastlane, typed: tuple[str, ...], meant: str
) -> None:
    assert f"No such command '{typed[0]}'. Did you mean '{meant}'?\n" in fastlane(*typed).err


def test_a_verb_that_is_like_none_gets_no_hint(fastlane: Fastlane) -> None:
    outcome = fastlane("frobnicate")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (2, "Error: No such command 'frobnicate'.")


def test_an_option_before_the_verb_is_judged_as_one(fastlane: Fastlane) -> None:
    assert "No such option '--workers'" in fastlane("--workers", "3", "serve", "blog").err


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
    shown = subprocess.run([sys.executable, "-m", "fastlane", "--version"], capture_output=True, text=True, timeout=60)
    assert shown.stdout.startswith("fastlane ")


@pytest.mark.process
def test_the_command_line_alone_loads_no_server_and_no_application() -> None:
    code = "import sys, fastlane_cli.main; print({'uvicorn', 'asyncio', 'fastlane.app'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "set()\n"
