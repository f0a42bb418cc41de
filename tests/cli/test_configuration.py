"""The configuration file: where it is looked for, and what stops the boot."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlane.errors import ConfigurationError
from fastlane_cli.configuration import read_configuration


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(flag: str | None = None, **environment: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(flag, environment)
    return str(caught.value)


def test_no_file_at_all_is_an_empty_configuration() -> None:
    assert read_configuration(None, {}) == ("fastlane.toml", False, {}, False)


def test_fastlane_toml_of_the_working_directory_is_read(directory: Path) -> None:
    (directory / "fastlane.toml").write_text("[serve]\nworkers = 2\n")
    assert read_configuration(None, {}) == ("fastlane.toml", True, {"workers": 2}, False)


def test_tables_about_resources_are_somebody_elses_to_read(directory: Path) -> None:
    (directory / "fastlane.toml").write_text('[pubsub]\nprovider = "local"\n')
    assert read_configuration(None, {}) == ("fastlane.toml", True, {}, True)


def test_a_flag_beats_the_variable_which_beats_the_default(directory: Path) -> None:
    for name in ("fastlane.toml", "variable.toml", "flag.toml"):
        (directory / name).write_text(f'[serve]\nhost = "{name}"\n')
    variable = {"FASTLANE_CONFIG": "variable.toml"}
    assert read_configuration("flag.toml", variable).serve == {"host": "flag.toml"}
    assert read_configuration(None, variable).serve == {"host": "variable.toml"}
    assert read_configuration(None, {}).serve == {"host": "fastlane.toml"}


def test_a_file_that_was_asked_for_must_be_there() -> None:
    assert complaint("production.toml") == "--config: there is no file 'production.toml'"
    assert complaint(FASTLANE_CONFIG="p.toml") == "FASTLANE_CONFIG: there is no file 'p.toml'"


def test_a_file_that_cannot_be_read_is_named(directory: Path) -> None:
    (directory / "folder.toml").mkdir()
    assert complaint("folder.toml") == "--config: folder.toml can't be read: Is a directory"


@pytest.mark.parametrize("text", [b"[serve\n", b"a = \xff\n"])
def test_broken_toml_is_told_with_its_file(directory: Path, text: bytes) -> None:
    (directory / "fastlane.toml").write_bytes(text)
    assert complaint().startswith("fastlane.toml: this is no TOML: ")


def test_an_unknown_table_is_told_with_the_one_that_was_meant(directory: Path) -> None:
    (directory / "fastlane.toml").write_text("[sevre]\nworkers = 2\n")
    assert complaint() == "fastlane.toml: sevre: there is no such table. Did you mean [serve]?"
    (directory / "fastlane.toml").write_text("workers = 2\n")
    expected = "Expected [serve], [providers], [pubsub], [sql], [cron], [secrets]."
    assert complaint() == f"fastlane.toml: workers: there is no such table. {expected}"


def test_a_value_where_a_table_belongs_is_refused(directory: Path) -> None:
    (directory / "fastlane.toml").write_text("serve = 2\n")
    assert complaint() == "fastlane.toml: serve: expected a table, [serve], got 2"
