from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.sql.migrations.script import NO_TRANSACTION, split_statements, transaction_control


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (";;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; here'; x", ["SELECT 'it''s; here'", "x"]),
        (r"SELECT E'\'; '; x", [r"SELECT E'\'; '", "x"]),
        ('SELECT "a;""b"; x', ['SELECT "a;""b"', "x"]),
        ("-- a; b\nSELECT 1", ["SELECT 1"]),
        ("/* a; /* nested; */ b; */ SELECT 1", ["SELECT 1"]),
        ("/* without an end; SELECT 1", []),
        ("DO $$ BEGIN; END $$; x", ["DO $$ BEGIN; END $$", "x"]),
        ("DO $a$ $$; $b$; $a$; x", ["DO $a$ $$; $b$; $a$", "x"]),
        ("SELECT a$1$; b", ["SELECT a$1$", "b"]),
        ("SELECT $1; b", ["SELECT $1", "b"]),
    ],
)
def test_statements_end_at_semicolons_that_stand_in_nothing(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("CREATE TABLE a (id int)", None),
        ("BEGIN; SELECT 1; COMMIT", "BEGIN"),
        ("SELECT 1;\n commit ;", "COMMIT"),
        ("start   transaction", "START TRANSACTION"),
        ("SAVEPOINT a; ROLLBACK TO a", None),
        ("ROLLBACK", "ROLLBACK"),
        ("-- BEGIN\nSELECT 1", None),
        ("DO $$ BEGIN END $$", None),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;", None),
        ("SELECT 1 AS begin", None),
    ],
)
def test_what_begins_or_ends_a_transaction_is_found(text: str, control: str | None) -> None:
    assert transaction_control(text) == control


def test_the_first_line_says_that_there_is_no_transaction() -> None:
    assert NO_TRANSACTION.match("-- fastlane: no-transaction\nCREATE INDEX CONCURRENTLY a ON b (c)")
    assert not NO_TRANSACTION.match("SELECT 1;\n-- fastlane: no-transaction")


@given(st.text(alphabet="ab;'\"$-/*\\\nE", max_size=40))
def test_any_text_is_split_without_an_end(text: str) -> None:
    for statement in split_statements(text):
        assert statement == statement.strip() != ""


@given(st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", "DO $x$ ; $x$", 'DROP TABLE "a;b"']), max_size=6))
def test_what_was_joined_is_split(statements: list[str]) -> None:
    assert split_statements(";\n-- and; then\n".join(statements)) == statements
