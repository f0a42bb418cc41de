"""Where values come from on one machine: variables, dotenv files, directories, one JSON object."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fastlane.resources.configuration import SecretsOptions
from fastlane.resources.surroundings import Mode, Surroundings
from fastlane.secrets.sources import Reading, Source, make_source
from fastlane.secrets.sources.source import MissingLibrary, inside, library


def source(
    environment: Mapping[str, str] | None = None, mode: Mode = "serve", embedded: bool = False, **options: object
) -> Source:
    surroundings = Surroundings(mode=mode, embedded=embedded)
    return make_source(SecretsOptions(**options), surroundings, environment or {})  # type: ignore[arg-type]


def read(found: Source, *names: str) -> Reading:
    return asyncio.run(found.read(names))


def test_variables_may_have_a_prefix_or_another_name() -> None:
    found = source({"APP_A": "1", "OTHER": "2"}, prefix="APP_", names={"B": "OTHER"})
    assert read(found, "A", "B", "C") == ({"A": "1", "B": "2"}, {"C": "the variable APP_C is not set"})
    assert found.place("B") == "variable OTHER"
    assert found.mend("C").startswith("set APP_C=… in the environment")


def test_an_empty_variable_is_missing() -> None:
    assert read(source({"A": ""}), "A").missing == {"A": "the variable A is empty"}


def test_a_variable_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("value\n")
    (tmp_path / "b").write_bytes(b"\xff")
    paths = {"A_FILE": str(tmp_path / "a"), "B_FILE": str(tmp_path / "b"), "C_FILE": str(tmp_path / "c")}
    values, missing = read(source(paths), "A", "B", "C")
    assert values == {"A": "value"}
    assert missing["B"].endswith("can't be read: it is no UTF-8")
    assert missing["C"].endswith("which C_FILE names, can't be read: No such file or directory")


def test_a_variable_beats_the_line_of_a_dotenv_file(tmp_path: Path) -> None:
    path = tmp_path / "production.env"
    path.write_text("A=file\nB=file\n")
    found = source({"A": "variable"}, provider="dotenv", path=str(path))
    assert read(found, "A", "B", "C") == (
        {"A": "variable", "B": "file"},
        {"C": f"neither {path} nor the environment has C"},
    )
    assert found.check() == ()
    assert found.mend("C") == f"add the line C=… to {path}, or set the variable"
    before = found.fingerprint(["A"])
    path.write_text("A=file\nB=another\n")
    assert found.fingerprint(["A"]) != before


def test_a_dotenv_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    found = source(provider="dotenv", path=str(tmp_path / "none"))
    assert "there is no file" in found.check()[0]
    assert found.fingerprint([]) == ()
    assert read(found, "A").values == {}


@pytest.mark.parametrize(("content", "problem"), [(b"oops", "line 1 is not NAME=value"), (b"\xff", "it is no UTF-8")])
def test_a_broken_dotenv_file_is_the_reason(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert problem in read(source(provider="dotenv", path=str(tmp_path / ".env")), "A").missing["A"]


@pytest.mark.parametrize(("mode", "embedded"), [("dev", False), ("serve", True)])
def test_dev_and_embedded_read_a_dotenv_file_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, embedded: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    found = source({"B": "2"}, mode, embedded)
    assert found.check() == ()
    (tmp_path / ".env").write_text("A=1")
    assert read(found, "A", "B").values == {"A": "1", "B": "2"}


@pytest.mark.parametrize("mode", ["serve", "test", "script"])
def test_others_read_no_dotenv_file_unless_they_are_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("A=1")
    assert read(source(mode=mode), "A").values == {}


def test_a_directory_has_a_file_for_each(tmp_path: Path) -> None:
    (tmp_path / "MAIL_KEY").write_text("one\n")
    (tmp_path / "api_key").write_text("two\r\n")
    (tmp_path / "db-password").write_text("three\n\n")
    (tmp_path / "app.json").write_text('{"token": "four"}')
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe")
    (tmp_path / "HUGE").write_bytes(b"x" * ((1 << 20) + 1))
    found = source(provider="files", path=str(tmp_path), names={"TOKEN": "app.json#token", "WRONG": "app.json#no"})
    names = ["MAIL_KEY", "API_KEY", "DB_PASSWORD", "TOKEN", "WRONG", "EMPTY", "BINARY", "HUGE", "NONE"]
    values, missing = read(found, *names)
    assert values == {"MAIL_KEY": "one", "API_KEY": "two", "DB_PASSWORD": "three\n", "TOKEN": "four"}
    assert missing == {
        "WRONG": f"{tmp_path}/app.json: it has no text under the key 'no'",
        "EMPTY": f"{tmp_path}/EMPTY is empty",
        "BINARY": f"{tmp_path}/BINARY is no UTF-8 text",
        "HUGE": f"{tmp_path}/HUGE: it is larger than 1 MiB",
        "NONE": f"there is no file {tmp_path}/NONE",
    }
    assert found.place("API_KEY") == f"file {tmp_path}/api_key"
    assert found.mend("NONE") == f"mount a file {tmp_path}/NONE that holds it"


def test_a_directory_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    assert source(provider="files", path=str(tmp_path)).check() == ()
    (mistake,) = source(provider="files", path=str(tmp_path / "none")).check()
    assert "there is no directory" in mistake


def test_a_file_that_can_not_be_read_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "A").symlink_to("A")
    (tmp_path / "B").mkdir()
    assert set(read(source(provider="files", path=str(tmp_path)), "A", "B").missing) == {"A", "B"}


def test_files_that_kubernetes_swaps_are_noticed(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "KEY").write_text(version)
        os.utime(tmp_path / version / "KEY", (0, 0))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "KEY").symlink_to("..data/KEY")
    found = source(provider="files", path=str(tmp_path))
    assert read(found, "KEY").values == {"KEY": "v1"}
    before = found.fingerprint(["KEY"])
    assert found.fingerprint(["KEY"]) == before
    (tmp_path / "..new").symlink_to("v2")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    assert found.fingerprint(["KEY"]) != before
    assert read(found, "KEY").values == {"KEY": "v2"}
    (tmp_path / "KEY").unlink()
    assert found.fingerprint(["KEY"]) == (None,)


def test_one_variable_may_hold_all_as_json() -> None:
    found = source({"FASTLANE_SECRETS": '{"A": "1", "b": "2", "C": 3, "D": ""}'}, provider="json", names={"B": "b"})
    assert read(found, "A", "B", "C", "D", "E") == (
        {"A": "1", "B": "2"},
        {
            "C": "'C' of the object in FASTLANE_SECRETS is no text",
            "D": "'D' of the object in FASTLANE_SECRETS is empty",
            "E": "the object in FASTLANE_SECRETS has no key 'E'",
        },
    )
    assert found.place("B") == "variable FASTLANE_SECRETS, key b"
    assert found.mend("E") == 'give the object in FASTLANE_SECRETS a member "E": "…"'


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "is not set"), ("hunter2 {", "holds no JSON"), ('["hunter2"]', "holds JSON that is no object")],
)
def test_a_variable_that_holds_no_object_is_the_reason_and_is_not_quoted(text: str, problem: str) -> None:
    missing = read(source({"MINE": text}, provider="json", variable="MINE"), "A").missing
    assert missing == {"A": f"the variable MINE {problem}"}


def test_a_value_may_be_inside_of_json() -> None:
    assert inside("as it is", "") == "as it is"
    assert inside('{"a": "b"}', "a") == "b"
    for text, problem in (
        ("hunter2", "it is no JSON"),
        ('["hunter2"]', "no text under"),
        ('{"a": 1}', "no text under"),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            inside(text, "a")
        assert "hunter2" not in str(caught.value)


def test_a_library_that_is_missing_is_named_by_its_extra() -> None:
    with pytest.raises(MissingLibrary, match=r'pip install "fastlane-asgi\[aws\]"'):
        library("fastlane_tests_no_such_module", "aws")
