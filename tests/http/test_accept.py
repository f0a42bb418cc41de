"""Which media type a client prefers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.http.accept import preferred, quality

JSON, MSGPACK = "application/json", "application/msgpack"


@pytest.mark.parametrize(
    ("lines", "offer"),
    [
        ([], MSGPACK),
        ([b""], MSGPACK),
        ([b"*/*"], MSGPACK),
        ([b"application/*"], MSGPACK),
        ([b"text/html"], MSGPACK),
        ([b"application/json"], JSON),
        ([b"Application/JSON; charset=utf-8"], JSON),
        ([b"application/json, application/msgpack"], MSGPACK),
        ([b"application/json, application/msgpack;q=0.9"], JSON),
        ([b"application/msgpack;q=0, */*"], JSON),
        ([b"application/msgpack ; q = 0.1", b"*/*;q=0.5"], JSON),
        ([b"application/json;q=0.5, application/*;q=0.2"], JSON),
        ([b"application/json;q=2"], MSGPACK),
        ([b"application/json;q=x, */*;q=0.1"], MSGPACK),
        ([b"\xff\xfe"], MSGPACK),
    ],
)
def test_the_client_s_liking_decides_and_the_first_offer_breaks_a_tie(lines, offer):
    assert preferred(lines, (MSGPACK, JSON)) == offer


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ([], 1.0),
        ([b"*/*;q=0.3"], 0.3),
        ([b"text/html"], 0.0),
        ([b"application/json;q=0.001"], 0.001),
        ([b"application/json;q=1.000"], 1.0),
        ([b"application/json;q=1.9"], 1.0),
        ([b"application/json;q=0.1234"], 0.0),
        ([b"application/json;q=1."], 1.0),
    ],
)
def test_the_most_specific_range_decides(lines, value):
    assert quality(lines, JSON) == value


@given(st.lists(st.binary()))
def test_any_octets_are_read(lines):
    assert preferred(lines, (MSGPACK, JSON)) in (MSGPACK, JSON)
    assert 0 <= quality(lines, JSON) <= 1
