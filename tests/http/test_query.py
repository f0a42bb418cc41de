"""Query strings and forms."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import BadRequest
from fastlane.http.query import MAX_FIELDS, QueryParams, parse_pairs, parse_query, parse_query_lists


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=", {"a": ""}),
        (b"a", {"a": ""}),
        (b"&a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"&", {}),
        (b"=x", {"": "x"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1+2", {"a": "1 2"}),
        (b"a=%2B&%61b=%26%3D", {"a": "+", "ab": "&="}),
        (b"a=%C3%A4", {"a": "ä"}),
        ("a=ä".encode(), {"a": "ä"}),
        (b"a=%zz%4", {"a": "%zz%4"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a+b=%00", {"a b": "\x00"}),
    ],
)
def test_fields_are_decoded_and_the_last_wins(raw, values):
    assert parse_query(raw) == values
    assert {name: items[-1] for name, items in parse_query_lists(raw).items()} == values


def test_lists_hold_every_value_in_order():
    assert parse_query_lists(b"a=1&b=x&a=2&a") == {"a": ["1", "2", ""], "b": ["x"]}
    assert parse_query_lists(b"") == {}


@pytest.mark.parametrize("raw", [b"a=\xff", b"a=%ff", b"%ff=a", b"a=%C3", b"a=%ED%A0%80"])
def test_octets_that_are_no_utf_8_are_a_400(raw):
    for parse in (parse_query, parse_query_lists, parse_pairs):
        with pytest.raises(BadRequest):
            parse(raw)


@pytest.mark.parametrize("field", [b"a", b"%61", b""])
def test_the_number_of_fields_is_bounded(field):
    parse_query(b"&".join([field] * MAX_FIELDS))
    for parse in (parse_query, parse_query_lists):
        with pytest.raises(BadRequest, match="more than 1000 fields"):
            parse(b"&".join([field] * (MAX_FIELDS + 1)))


def test_query_params_know_the_last_and_all():
    query = QueryParams(b"a=1&b=2&a=3")

    assert query == {"a": "3", "b": "2"}
    assert query.getlist("a") == ["1", "3"]
    assert query.getlist("none") == []
    assert query.multi_items() == [("a", "1"), ("b", "2"), ("a", "3")]
    query.multi_items().clear()
    assert query.multi_items() != []


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=8))
def test_what_is_encoded_is_decoded_again(fields):
    fields = [(name, value) for name, value in fields if (name + value).isascii() or _encodes(name + value)]

    assert parse_pairs(urlencode(fields).encode()) == fields
    assert parse_query(urlencode(fields).encode()) == dict(fields)


@given(st.binary(max_size=60))
def test_any_octets_are_read_or_refused_and_the_readers_agree(raw):
    try:
        pairs = parse_pairs(raw)
    except BadRequest:
        with pytest.raises(BadRequest):
            parse_query(raw)
        return
    assert parse_query(raw) == dict(pairs)
    assert pairs == parse_qsl(raw.decode(), keep_blank_values=True, errors="strict")


def _encodes(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
