from __future__ import annotations

import asyncio
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.sql.template import rendered
from tests.sql.opened import opened


class Interpolation(NamedTuple):
    """As `string.templatelib.Interpolation`, which Python has from 3.14 on."""

    value: Any
    expression: str = "value"
    conversion: str | None = None
    format_spec: str = ""


class Template(NamedTuple):
    strings: tuple[str, ...]
    interpolations: tuple[Interpolation, ...]


def test_values_become_arguments() -> None:
    template = Template(("SELECT ", " + ", ""), (Interpolation(1), Interpolation(2)))
    assert rendered(template, ()) == ("SELECT $1 + $2", (1, 2))


def test_a_template_inside_a_template_is_a_part_of_the_text() -> None:
    where = Template((" WHERE id = ", ""), (Interpolation(7),))
    outer = Template(("SELECT ", " FROM posts", ""), (Interpolation(5), Interpolation(where)))
    assert rendered(outer, ()) == ("SELECT $1 FROM posts WHERE id = $2", (5, 7))


def test_a_value_is_never_formatted_into_the_text() -> None:
    for interpolation in (Interpolation(1, "id", "r"), Interpolation(1, "id", None, ">5")):
        with pytest.raises(ValueError, match="mend: leave the conversion or format out"):
            rendered(Template(("SELECT ", ""), (interpolation,)), ())


def test_a_query_is_a_text_or_a_template_without_arguments() -> None:
    class Text(str): ...

    assert rendered(Text("SELECT 1"), (1,)) == ("SELECT 1", (1,))
    with pytest.raises(TypeError, match="a query is a str, or a template string, not int"):
        rendered(1, ())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give no further arguments"):
        rendered(Template(("SELECT 1",), ()), (1,))


@given(st.lists(st.one_of(st.text(), st.integers(), st.none()), max_size=20))
def test_no_value_is_in_the_text(values: list[object]) -> None:
    template = Template(("?",) * (len(values) + 1), tuple(map(Interpolation, values)))
    text, arguments = rendered(template, ())
    assert arguments == tuple(values)
    assert text == "?" + "".join(f"${number}?" for number in range(1, len(values) + 1))


def test_every_method_takes_a_template(url: str) -> None:
    async def main() -> None:
        query = Template(("SELECT ", "::int AS number"), (Interpolation(5),))
        async with opened(url) as db, db.transaction() as tx:
            for source in (db, tx):
                assert await source.fetch_one(int, query) == 5
                assert await source.fetch_optional(int, query) == 5
                assert await source.fetch_all(int, query) == [5]
                assert await source.fetch_value(int, query) == 5
                assert await source.execute(query) == 1
                assert [number async for number in source.stream(int, query)] == [5]

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="template strings came with Python 3.14")
def test_a_template_string_of_the_language() -> None:
    assert eval("rendered(t'SELECT {1 + 1}', ())", {"rendered": rendered}) == ("SELECT $1", (2,))
