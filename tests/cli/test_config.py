"""``fastlane config``: the options in force, and where each one comes from."""

from __future__ import annotations

import json

import pytest

from fastlane.server.options import OPTIONS

from .conftest import Fastlane, Write


def test_each_option_is_shown_with_its_value_and_source(
    fastlane: Fastlane, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("fastlane.toml", "[serve]\nkeep_alive = '90s'\n")
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    outcome = fastlane("config", "--port", "9000", "--no-preload")
    lines = [line.split() for line in outcome.out.splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines] == [option.name for option in OPTIONS]
    assert ["port", "9000", "--port"] in lines
    assert ["preload", "off", "--preload"] in lines
    assert ["workers", "3", "WEB_CONCURRENCY"] in lines
    assert ["keep_alive", "90", "fastlane.toml:", "serve.keep_alive"] in lines
    assert ["uds_permissions", "0666"] in lines
    assert ["max_rss", "-"] in lines
    assert outcome.out.startswith("file: fastlane.toml\n")


def test_without_a_file_it_says_so(fastlane: Fastlane) -> None:
    assert fastlane("config").out.startswith("file: none (there is no fastlane.toml)\n")


def test_json_has_the_same_for_programs(fastlane: Fastlane) -> None:
    found = json.loads(fastlane("config", "--json", "--max-rss", "64MiB").out)
    assert found["max_rss"] == {"value": 67108864, "source": "--max-rss"}
    assert found["port"] == {"value": 8000, "source": "default"}


def test_a_password_is_never_shown(fastlane: Fastlane) -> None:
    flags = ("--certfile", "a.pem", "--keyfile-password", "hunter2")
    assert "hunter2" not in fastlane("config", *flags).out + fastlane("config", "--json", *flags).out


def test_a_bad_option_is_found_without_serving(fastlane: Fastlane) -> None:
    assert fastlane("config", "--uds", "a", "--fd", "3").code == 2


def test_the_command_line_of_serve_can_be_copied(fastlane: Fastlane) -> None:
    outcome = fastlane("config", "blog:app", "--workers", "2")
    assert outcome.code == 0
    assert ["workers", "2", "--workers"] in [line.split() for line in outcome.out.splitlines()]


def test_a_variable_that_nobody_reads_is_told(fastlane: Fastlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_WORKER", "3")
    outcome = fastlane("config")
    assert outcome.code == 0
    assert outcome.err == "fastlane: nobody reads the variable FASTLANE_WORKER. Did you mean FASTLANE_WORKERS?\n"
