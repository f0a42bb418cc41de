"""Cookies, read and written."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.http.cookies import expired_cookie, parse_cookies, render_cookie


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([], {}),
        ([b"a=1; b=2"], {"a": "1", "b": "2"}),
        ([b"a=1", b"b=2"], {"a": "1", "b": "2"}),
        ([b"a=1;b=2 ;\tc=3"], {"a": "1", "b": "2", "c": "3"}),
        ([b"a=first; a=second", b"a=third"], {"a": "first"}),
        ([b"a=b=c=="], {"a": "b=c=="}),
        ([b"a="], {"a": ""}),
        ([b"a; =x; ; b=1"], {"b": "1"}),
        ([b'a="x y"'], {"a": "x y"}),
        ([b'a="x\\054\\"y\\\\"'], {"a": 'x,"y\\'}),
        ([b'a="'], {"a": '"'}),
        ([b'a="x'], {"a": '"x'}),
        ([b"a=\xc3\xa4"], {"a": "ä"}),
        ([b"a=\xe4"], {"a": "ä"}),
        ([b'a={"json":1}'], {"a": '{"json":1}'}),
    ],
)
def test_cookies_are_read_leniently_and_the_first_wins(lines, cookies):
    assert parse_cookies(lines) == cookies


@pytest.mark.parametrize(
    "line", [b";" * 200_000, b'a="' + b"\\" * 200_000 + b'"', b"a=" + b" " * 200_000, b'"' * 200_000]
)
def test_reading_is_linear(line):
    before = time.thread_time()
    parse_cookies([line])

    assert time.thread_time() - before < 0.5  # some 30 ms; quadratic would be minutes


@given(st.lists(st.binary()))
def test_reading_never_raises(lines):
    assert all(name for name in parse_cookies(lines))


def test_a_cookie_has_a_path_and_a_same_site():
    assert render_cookie("a", "1") == b"a=1; Path=/; SameSite=lax"
    assert render_cookie("a", "1", path=None, samesite=None) == b"a=1"


def test_every_attribute_is_rendered():
    line = render_cookie(
        "a", "1", max_age=60, expires=datetime(2030, 1, 2, tzinfo=UTC), path="/x", domain="example.org", secure=True,
        httponly=True, samesite="none", partitioned=True,
    )  # fmt: skip

    assert line == (
        b"a=1; expires=Wed, 02 Jan 2030 00:00:00 GMT; Max-Age=60; Domain=example.org; Path=/x; Secure; HttpOnly; "
        b"SameSite=none; Partitioned"
    )


def test_a_moment_may_be_given_in_three_ways():
    there = timezone(timedelta(hours=2))
    assert b"expires=Wed, 02 Jan 2030 00:00:00 GMT" in render_cookie("a", expires=datetime(2030, 1, 2, 2, tzinfo=there))
    assert b"expires=Wed, 02 Jan 2030 00:00:00 GMT" in render_cookie("a", expires=datetime(2030, 1, 2))
    assert b"expires=Never" in render_cookie("a", expires="Never")
    line = render_cookie("a", expires=3600).decode()
    moment = parsedate_to_datetime(line.partition("expires=")[2].partition(";")[0])
    assert timedelta(minutes=59) < moment - datetime.now(UTC) <= timedelta(minutes=60)


def test_an_expired_cookie_is_in_the_past():
    assert (
        expired_cookie("a", path="/x") == b"a=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/x; SameSite=lax"
    )


@pytest.mark.parametrize("name", ["", "a b", "a=", "a;", "ä", "a\n"])
def test_a_name_must_be_a_token(name):
    with pytest.raises(ValueError, match="not a token"):
        render_cookie(name, "1")


@pytest.mark.parametrize("value", ["a\r\nb", "\x00", "\x7f", "→"])
def test_a_value_that_can_t_be_sent_is_refused(value):
    with pytest.raises(ValueError, match="cookie 'a'"):
        render_cookie("a", value)


@pytest.mark.parametrize("attribute", ["path", "domain", "expires"])
@pytest.mark.parametrize("text", ["/; Secure", "a\r\nb", "ä"])
def test_an_attribute_can_t_bring_another(attribute, text):
    with pytest.raises(ValueError, match="the attribute"):
        render_cookie("a", "1", **{attribute: text})


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("a", {"samesite": "none"}, "SameSite=none needs secure=True"),
        ("a", {"partitioned": True}, "Partitioned needs secure=True"),
        ("a", {"samesite": "no"}, "samesite must be"),
        ("__Secure-a", {}, "its prefix needs secure=True"),
        ("__Host-a", {}, "its prefix needs secure=True"),
        ("__Host-a", {"secure": True, "path": "/x"}, "needs path='/' and no domain"),
        ("__host-a", {"secure": True, "domain": "example.org"}, "needs path='/' and no domain"),
    ],
)
def test_what_a_browser_would_refuse_is_refused(name, attributes, message):
    with pytest.raises(ValueError, match=message):
        render_cookie(name, "1", **attributes)


def test_prefixes_that_keep_their_promise_are_rendered():
    assert render_cookie("__Host-a", "1", secure=True) == b"__Host-a=1; Path=/; Secure; SameSite=lax"
    assert render_cookie("__Secure-a", "1", secure=True, path="/x").startswith(b"__Secure-a=1; Path=/x; Secure")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f")))
def test_a_value_comes_back_as_it_was_set(value):
    pair = render_cookie("a", value, path=None, samesite=None)

    assert parse_cookies([pair]) == {"a": value}
    if value.isascii():
        assert SimpleCookie(pair.decode())["a"].value == value
