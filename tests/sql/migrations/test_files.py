from __future__ import annotations

from pathlib import Path

import pytest

from fastlane.errors import ConfigurationError
from fastlane.sql.migrations import new_migration, read_migrations
from fastlane.sql.migrations.files import read_down
from tests.sql.migrations.conftest import Put


def test_files_are_read_in_the_order_of_their_numbers(put: Put, tmp_path: Path) -> None:
    put("0010_b.up.sql", "SELECT 2")
    put("2_a.up.sql", "SELECT 1")
    put("2_a.down.sql", "SELECT 0")
    put("README.md", "not SQL")
    first, second = read_migrations(tmp_path / "migrations")
    assert (first.version, first.name, first.title, second.version) == (2, "a", "2_a", 10)
    assert first.down is not None
    assert second.down is None


def test_every_mistake_is_told_at_once(put: Put, tmp_path: Path) -> None:
    put("create.sql", "SELECT 1")
    put("1_a.up.sql", "SELECT 1")
    put("01_b.up.sql", "SELECT 1")
    put("2_c.down.sql", "SELECT 1")
    put("3_d.up.sql", "BEGIN; SELECT 1; COMMIT")
    put("4_e.up.sql", "-- fastlane: no-transaction\nSELECT 1; SELECT 2")
    put("5_f.up.sql", "-- to be written")
    with pytest.raises(ConfigurationError) as caught:
        read_migrations(tmp_path / "migrations")
    text = str(caught.value)
    assert "create.sql: expected a name such as 0001_create_posts.up.sql" in text
    assert "1_a.up.sql: 01_b.up.sql has the number 1, too" in text
    assert "2_c.down.sql: there is no 2_c.up.sql that it would undo" in text
    assert "3_d.up.sql: BEGIN: each migration runs in a transaction already" in text
    assert "5_f.up.sql: there is no statement in it" in text
    assert "4_e.up.sql: a migration outside a transaction holds one statement, and this one 2" in text


def test_a_directory_that_is_missing_is_an_error_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)nowhere: migrations can't be read.*mend: make the directory"):
        read_migrations(tmp_path / "nowhere")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"1_a\.up\.sql: can't be read"):
        read_migrations(tmp_path)


def test_the_checksum_does_not_depend_on_line_ends(tmp_path: Path) -> None:
    (tmp_path / "1_a.up.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    (unix,) = read_migrations(tmp_path)
    (tmp_path / "1_a.up.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    (windows,) = read_migrations(tmp_path)
    assert unix.checksum == windows.checksum


def test_a_new_migration_gets_the_next_number(put: Put, tmp_path: Path) -> None:
    assert new_migration(tmp_path / "migrations", "create posts").name == "0001_create_posts.up.sql"
    put("0007_x.up.sql", "SELECT 1")
    path = new_migration(tmp_path / "migrations", "Add-Likes!")
    assert path.name == "0008_add_likes.up.sql"
    assert path.read_text() == "-- Add-Likes!\n"
    assert new_migration(tmp_path / "migrations", "more").name == "0009_more.up.sql"
    with pytest.raises(ConfigurationError, match="is no name for a migration"):
        new_migration(tmp_path / "migrations", "…")


def test_what_undoes_a_migration_is_read_when_it_is_needed(put: Put, tmp_path: Path) -> None:
    put("1_a.up.sql", "SELECT 1")
    put("2_b.up.sql", "SELECT 1")
    put("2_b.down.sql", "COMMIT")
    first, second = read_migrations(tmp_path / "migrations")
    with pytest.raises(ConfigurationError, match=r"write 1_a\.down\.sql beside it"):
        read_down(first)
    with pytest.raises(ConfigurationError, match=r"2_b\.down\.sql: COMMIT"):
        read_down(second)
