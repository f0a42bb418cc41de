"""The reader of rows, without a server: a plan takes whatever can be unpacked."""

from __future__ import annotations

import gc
import ipaddress
import linecache
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NotRequired, Required, TypedDict

import msgspec
import pytest
from asyncpg import Range
from hypothesis import given
from hypothesis import strategies as st

from fastlane.sql.columns import Column
from fastlane.sql.errors import RowMismatch, UnexpectedNull
from fastlane.sql.rows import plan_of

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int4": (int, st.integers()),
    "text": (str, st.text()),
    "float8": (float, st.floats(allow_nan=False)),
    "bool": (bool, st.booleans()),
    "bytea": (bytes, st.binary()),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[str, str, bool]], list[int], list[list[Any]]]:
    """Fields (name, column type, optional), an order of columns with strangers among them, and rows."""
    fields = [
        (f"field{number}", draw(st.sampled_from(sorted(TYPES))), draw(st.booleans()))
        for number in range(draw(st.integers(1, 6)))
    ]
    order = draw(st.permutations(range(-draw(st.integers(0, 3)), len(fields))))
    rows = draw(
        st.lists(
            st.tuples(
                *(TYPES[kind][1] | st.none() if optional else TYPES[kind][1] for _, kind, optional in fields)
            ).map(list),
            max_size=5,
        )
    )
    return fields, list(order), rows


@given(tables())
def test_every_value_gets_to_its_field_in_whatever_order_the_columns_come(
    table: tuple[list[tuple[str, str, bool]], list[int], list[list[Any]]],
) -> None:
    fields, order, rows = table
    into = msgspec.defstruct(
        "Into", [(name, TYPES[kind][0] | None if optional else TYPES[kind][0]) for name, kind, optional in fields]
    )
    columns = [
        Column(fields[index][0], fields[index][1], "scalar")
        if index >= 0
        else Column(f"stranger{index}", "int4", "scalar")
        for index in order
    ]
    given_rows = [tuple(row[index] if index >= 0 else None for index in order) for row in rows]
    plan = plan_of(into, "SELECT …", columns)
    expected = [into(*row) for row in rows]
    assert plan.values(given_rows) == expected
    assert [plan.value(row) for row in given_rows] == expected


@given(tables(), st.data())
def test_a_null_is_found_wherever_it_is(
    table: tuple[list[tuple[str, str, bool]], list[int], list[list[Any]]], data: st.DataObject
) -> None:
    fields, _, rows = table
    required = [index for index, (_, _, optional) in enumerate(fields) if not optional]
    if not rows or not required:
        return
    into = msgspec.defstruct(
        "Into", [(name, TYPES[kind][0] | None if optional else TYPES[kind][0]) for name, kind, optional in fields]
    )
    bad = data.draw(st.sampled_from(required))
    data.draw(st.sampled_from(rows))[bad] = None
    plan = plan_of(into, "SELECT …", [Column(name, kind, "scalar") for name, kind, _ in fields])
    with pytest.raises(UnexpectedNull) as raised:
        plan.values(rows)
    assert raised.value.column == fields[bad][0]


def test_the_generated_reader_can_be_read_and_goes_with_its_plan() -> None:
    class Post(msgspec.Struct):
        id: int
        title: str | None = None

    plan = plan_of(Post, "SELECT …", [Column("title", "text", "scalar"), Column("id", "int4", "scalar")])
    file = plan.one.__code__.co_filename
    assert linecache.getlines(file)[:3] == [
        "def one(row):\n",
        "    c0, c1, = row\n",
        "    return make(c1, c0) if c1 is not None else null()\n",
    ]
    del plan
    gc.collect()
    assert file not in linecache.cache


def test_a_structure_or_none_is_told_what_says_that_there_may_be_no_row() -> None:
    class Post(msgspec.Struct):
        id: int

    with pytest.raises(RowMismatch, match=r"mend: leave out `\| None`"):
        plan_of(Post | None, "SELECT id FROM posts", [Column("id", "int4", "scalar")])


def test_the_mend_for_an_expression_without_a_name_does_not_call_it_by_one() -> None:
    with pytest.raises(RowMismatch, match="cast it in the query, `…::text`, or make the field int"):
        plan_of(str, "SELECT 1", [Column("?column?", "int4", "scalar")])


class Guest(TypedDict):
    id: int
    name: NotRequired[str]


class Visit(TypedDict, total=False):
    id: Required[int]
    name: str


@pytest.mark.parametrize("into", [Guest, Visit])
def test_a_key_of_a_typed_dict_may_be_missing_also_where_annotations_are_texts(into: Any) -> None:
    assert plan_of(into, "SELECT …", [Column("id", "int4", "scalar")]).value((1,)) == {"id": 1}
    with pytest.raises(RowMismatch, match=rf"{into.__name__}.id \(int\) has no column"):
        plan_of(into, "SELECT …", [Column("name", "text", "scalar")])


def test_a_typed_dict_of_typing_extensions_is_one() -> None:
    visit = pytest.importorskip("typing_extensions").TypedDict("Visit", {"id": int})
    columns = [Column("id", "int4", "scalar"), Column("more", "text", "scalar")]
    assert plan_of(visit, "SELECT …", columns).value((1, "x")) == {"id": 1}


def test_a_row_that_is_validated_keeps_the_types_of_its_values() -> None:
    address, moment = ipaddress.ip_address("10.0.0.1"), datetime(2026, 1, 2, tzinfo=UTC)
    row = {"address": address, "range": Range(1, 2), "moment": moment, "bytes": b"\xff", "price": Decimal("1.10")}
    kinds = (("inet", "scalar"), ("int4range", "range"), ("timestamptz", "scalar"), ("bytea", "scalar"))
    columns = [Column(name, *kind) for name, kind in zip(row, (*kinds, ("numeric", "scalar")), strict=True)]
    assert plan_of(dict, "SELECT …", columns).value(tuple(row.values()), validate=True) == row
    into = msgspec.defstruct("Into", [("address", ipaddress.IPv4Address), ("range", Range), ("moment", datetime)])
    values = (address, Range(1, 2), moment)
    assert plan_of(into, "SELECT …", columns[:3]).value(values, validate=True) == into(*values)


def test_the_type_char_of_the_catalogs_is_bytes() -> None:
    assert plan_of(bytes, "SELECT …", [Column("relkind", "char", "scalar")]).value((b"r",)) == b"r"
    with pytest.raises(RowMismatch, match="relkind::text"):
        plan_of(str, "SELECT …", [Column("relkind", "char", "scalar")])
