"""Header fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.http.headers import Headers, MutableHeaders, encode_header, encode_name, encode_value


def headers() -> MutableHeaders:
    return MutableHeaders([(b"accept", b"a"), (b"x-tag", b"1"), (b"accept", b"b"), (b"x-name", "ä".encode("latin-1"))])


def test_names_are_looked_up_in_any_case():
    assert headers()["ACCEPT"] == "a"
    assert headers().get("X-Name") == "ä"
    assert headers().get("x-none") is None
    assert "Accept" in headers()
    assert "x-none" not in headers()
    assert 3 not in headers()
    with pytest.raises(KeyError):
        headers()["x-none"]


def test_a_name_outside_latin_1_is_no_header():
    assert headers().get("→") is None
    assert "→" not in headers()


def test_all_lines_of_a_name_are_there_in_order():
    assert headers().getlist("Accept") == ["a", "b"]
    assert list(headers()) == headers().keys() == ["accept", "x-tag", "accept", "x-name"]
    assert headers().values() == ["a", "1", "b", "ä"]
    assert headers().items()[2] == ("accept", "b")
    assert len(headers()) == 4


def test_headers_are_equal_whatever_their_order():
    assert headers() == Headers(list(reversed(headers().raw)))
    assert headers() != Headers([])
    assert headers() != {"accept": "a"}
    assert repr(Headers([(b"a", b"b")])) == "Headers([(b'a', b'b')])"
    with pytest.raises(TypeError):
        hash(headers())


def test_setting_replaces_every_line_of_the_name_in_the_place_of_the_first():
    view = headers()
    view["Accept"] = "c"
    view["x-new"] = "n"

    assert view.raw == [(b"accept", b"c"), (b"x-tag", b"1"), (b"x-name", b"\xe4"), (b"x-new", b"n")]


def test_writing_goes_through_to_the_list():
    raw: list[tuple[bytes, bytes]] = []
    view = MutableHeaders(raw)
    view["a"] = "1"
    view.append("A", "2")
    view.extend([("b", "3"), ("c", "4")])
    del view["A"]

    assert raw == [(b"b", b"3"), (b"c", b"4")]
    with pytest.raises(KeyError):
        del view["a"]


def test_vary_is_added_once():
    view = MutableHeaders([])
    for name in ("Accept", "accept", "Origin"):
        view.add_vary_header(name)
    assert view["vary"] == "Accept, Origin"

    view["vary"] = "*"
    view.add_vary_header("accept")
    assert view["vary"] == "*"


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä", "a\x00", "(", "x\ty"])
def test_a_name_must_be_a_token(name):
    with pytest.raises(ValueError, match="not a token"):
        encode_name(name)
    with pytest.raises(ValueError):
        MutableHeaders([])[name] = "x"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a\n", "a\r", "\x00", "a\x0bb", "\x7f"])
def test_a_value_can_t_split_a_response(value):
    with pytest.raises(ValueError, match="control character"):
        encode_value(value)
    with pytest.raises(ValueError):
        MutableHeaders([]).append("x", value)


def test_a_value_must_be_latin_1():
    with pytest.raises(ValueError, match="header 'x': the value holds characters that are not in latin-1"):
        encode_value("→", "x")


def test_blanks_around_a_value_are_no_part_of_it():
    assert encode_header("X-A", " a\tb ") == (b"x-a", b"a\tb")


@given(st.text(), st.text())
def test_what_is_encoded_is_one_line(name, value):
    try:
        encoded = encode_header(name, value)
    except ValueError:
        return
    assert not {13, 10, 0} & {*encoded[0], *encoded[1]}
    assert encoded[0] == encoded[0].lower()
