"""Lines of NAME=value, as python-dotenv, docker compose and node read them where they agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.secrets.sources.dotenv import parse_dotenv

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("  export KEY = value  ", "value"),
        ("KEY=", ""),
        ("KEY=a b # comment", "a b"),
        ("KEY=a#b", "a#b"),
        ("KEY='a # b' # comment", "a # b"),
        ('KEY="a\\nb \\"c\\" \\\\ \\$"', 'a\nb "c" \\ $'),
        ("KEY='it\\'s \\n'", "it's \\n"),
        ('KEY="two\nlines"', "two\nlines"),
        ("KEY=postgres://u:p@h/$DB", "postgres://u:p@h/$DB"),
        ("KEY=it's", "it's"),
        ("KEY=a=b", "a=b"),
        ("KEY=ends\\", "ends\\"),
    ],
)
def test_a_line_is_read(line: str, value: str) -> None:
    for end in ("", "\n", "\r\n"):
        assert dict(parse_dotenv(line + end)) == {"KEY": value}


def test_comments_and_empty_lines_are_passed_over() -> None:
    assert list(parse_dotenv("# KEY=1\n\n \t\nA=1\n#\nB=2\r\n# end")) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize(
    ("text", "number"), [("hunter2", 1), ("A=1\nB='open", 2), ('A=1\n\nB="x" y\n', 3), ("1A=2", 1), ("=x", 1)]
)
def test_a_line_that_is_none_is_told_by_its_number_without_its_text(text: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"line {number} is not NAME=value") as caught:
        list(parse_dotenv(text))
    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30), max_size=5))
def test_a_quoted_value_comes_back_as_it_was(found: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "".join(f"{name}={quoted(value)}\n" for name, value in found.items())
    assert dict(parse_dotenv(text)) == found


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        list(parse_dotenv(text))
    except ValueError:
        return
