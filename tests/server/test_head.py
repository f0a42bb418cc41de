"""What a head says: Host, target, framing, and the bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import BadRequest, HeadersTooLarge, HTTPError, Unimplemented, URITooLong, VersionNotSupported
from fastlane.server.head import INVALID, read_head, refusal_of
from fastlane.server.limits import Limits

LIMITS = Limits()


def head_of(line: bytes, *fields: bytes, limits: Limits = LIMITS):
    return read_head(b"\r\n".join((line, *fields, b"", b"")), limits)


def test_a_plain_get_asks_for_nothing_special():
    head = head_of(b"GET /posts?page=2 HTTP/1.1", b"Host: example.org")

    assert (head.method, head.raw_path, head.query_string) == ("GET", b"/posts", b"page=2")
    assert head.route_key == b"GET /posts"
    assert head.target == "/posts?page=2"
    assert (head.keep_alive, head.plain, head.content_length, head.chunked) == (True, True, 0, False)
    assert (head.expect, head.upgrade) == (None, None)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"example.org",
        b"example.org:8000",
        b"example.org:",
        b"127.0.0.1",
        b"[::1]:80",
        b"[v1.a:b]",
        b"a%20b",
        b"a_b",
    ],
)
def test_a_host_of_the_grammar_is_taken(host):
    assert head_of(b"GET / HTTP/1.1", b"Host:  " + host + b"\t").host == host


@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"user@a",
        b"a:port",
        b"a:65536",
        b"a:99999999999999999999",
        b"[::1",
        b"[:::1]",
        b"[]",
        b"::1",
        b"a%2",
        b"a\\b",
        b"\xc3\xa4",
        b"a:80:80",
        b"<a>",
    ],
)
def test_a_host_outside_the_grammar_is_a_400(host):
    with pytest.raises(BadRequest, match="malformed"):
        head_of(b"GET / HTTP/1.1", b"Host: " + host)


def test_a_missing_host_is_a_400_on_1_1_and_allowed_on_1_0():
    with pytest.raises(BadRequest, match="missing"):
        head_of(b"GET / HTTP/1.1")

    assert head_of(b"GET / HTTP/1.0").host is None


def test_a_second_host_is_a_400():
    with pytest.raises(BadRequest, match="more than once"):
        head_of(b"GET / HTTP/1.1", b"Host: a", b"hOST: a")


def test_a_known_host_is_not_looked_at_again_but_a_new_one_is():
    raw = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"

    with pytest.raises(BadRequest):
        read_head(raw, LIMITS, b"a")
    with pytest.raises(BadRequest):
        read_head(raw.replace(b"a b", b"c d"), LIMITS, b"a b")


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://example.org/a?b", b"example.org"),
        (b"http://EXAMPLE.org:80/a?b", b"example.ORG"),
        (b"http://example.org/a?b", b"example.org:80"),
        (b"https://example.org:443/a?b", b"example.org"),
        (b"HTTP://[::1]:8000/a?b", b"[::1]:8000"),
    ],
)
def test_an_absolute_target_that_agrees_with_host_is_its_path(target, host):
    head = head_of(b"GET " + target + b" HTTP/1.1", b"Host: " + host)

    assert (head.raw_path, head.query_string) == (b"/a", b"b")


def test_an_absolute_target_without_a_path_is_the_root():
    assert head_of(b"GET http://a?b HTTP/1.1", b"Host: a").raw_path == b"/"
    assert head_of(b"GET http://a HTTP/1.1", b"Host: a").raw_path == b"/"


@pytest.mark.parametrize(
    "target",
    b"http://other/ http://example.org:81/ http:/// http://u@example.org/ ftp://example.org/ a/b * http:/example.org "
    b"/a#b /\xc3\xa4".split(),
)
def test_a_target_that_contradicts_or_is_none_is_a_400(target):
    with pytest.raises(BadRequest):
        head_of(b"GET " + target + b" HTTP/1.1", b"Host: example.org")


def test_the_asterisk_is_for_options():
    assert head_of(b"OPTIONS * HTTP/1.1", b"Host: a").raw_path == b"*"


def test_connect_is_not_implemented():
    with pytest.raises(Unimplemented):
        head_of(b"CONNECT example.org:443 HTTP/1.1", b"Host: example.org:443")


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10"])
def test_other_versions_are_a_505(version):
    with pytest.raises(VersionNotSupported):
        head_of(b"GET / " + version, b"Host: a")


def test_two_spaces_in_the_request_line_are_a_400():
    with pytest.raises(BadRequest):
        head_of(b"GET  / HTTP/1.1", b"Host: a")


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (Limits(request_line=20), URITooLong),
        (Limits(head_size=30), HeadersTooLarge),
        (Limits(header_count=1), HeadersTooLarge),
    ],
)
def test_each_bound_of_a_head_is_kept(limits, error):
    fields = (b"Host: example.org", b"Accept: */*")
    assert head_of(b"GET /12345678 HTTP/1.1", *fields).raw_path == b"/12345678"

    with pytest.raises(error):
        head_of(b"GET /12345678 HTTP/1.1", *fields, limits=limits)


@pytest.mark.parametrize(
    ("field", "attribute", "value"),
    [
        (b"Content-Length: 12", "content_length", 12),
        (b"Transfer-Encoding: Chunked", "chunked", True),
        (b"Connection: close", "keep_alive", False),
        (b"Connection: Keep-Alive , CLOSE", "keep_alive", False),
        (b"Expect: 100-Continue", "expect", b"100-continue"),
    ],
)
def test_framing_and_connection_options_are_read(field, attribute, value):
    head = head_of(b"POST / HTTP/1.1", b"Host: a", field)

    assert getattr(head, attribute) == value
    assert head.plain is (attribute == "content_length")


def test_keep_alive_on_1_1_says_nothing_new():
    assert head_of(b"GET / HTTP/1.1", b"Host: a", b"Connection: Keep-Alive").plain
    assert not head_of(b"GET / HTTP/1.1", b"Host: a", b"Connection: keep-alive, x").plain
    assert not head_of(b"GET / HTTP/1.1", b"Host: a", b"Proxy-Connection: keep-alive").plain
    assert not head_of(b"GET / HTTP/1.1", b"Host: a", b"Upgrade: h2c").plain


def test_an_upgrade_counts_only_when_connection_names_it():
    assert head_of(b"GET / HTTP/1.1", b"Host: a", b"Upgrade: WebSocket").upgrade is None
    named = head_of(b"GET / HTTP/1.1", b"Host: a", b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade")
    assert (named.upgrade, named.plain) == (b"websocket", False)


def test_http_1_0_keeps_the_connection_only_when_asked():
    assert not head_of(b"GET / HTTP/1.0").keep_alive
    assert head_of(b"GET / HTTP/1.0", b"Connection: keep-alive").keep_alive
    assert head_of(b"GET / HTTP/1.0", b"Expect: 100-continue").expect is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ((b"Transfer-Encoding: gzip, chunked",), Unimplemented),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), BadRequest),
        ((b"Transfer-Encoding: chunked, gzip",), BadRequest),
        ((b"Transfer-Encoding: ,chunked",), BadRequest),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 3"), BadRequest),
        ((b"Content-Length: 3", b"Content-Length: 3"), BadRequest),
        ((b"Content-Length: +3",), BadRequest),
        ((b"Content-Length: 1234567890123456789",), BadRequest),
    ],
)
def test_framing_that_smuggles_is_refused(fields, error):
    with pytest.raises(error):
        head_of(b"POST / HTTP/1.1", b"Host: a", *fields)


def test_transfer_encoding_needs_1_1():
    with pytest.raises(BadRequest):
        head_of(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")


def test_headers_are_found_whatever_their_case_and_repeats_are_told():
    head = head_of(b"GET / HTTP/1.1", b"Host: a", b"X-One:  1 ", b"x-two: 2", b"X-TWO: 3")

    assert head.header(b"x-one") == b"1"
    assert head.header(b"x-none") is None
    assert head.header_values(b"x-two") == [b"2", b"3"]
    with pytest.raises(ValueError, match="x-two"):
        head.header(b"x-two")
    assert head.header_list() == [(b"host", b"a"), (b"x-one", b"1"), (b"x-two", b"2"), (b"x-two", b"3")]


def test_a_name_is_not_found_inside_a_value():
    assert head_of(b"GET / HTTP/1.1", b"Host: a", b"X-A: x-b: 1").header(b"x-b") is None


@pytest.mark.parametrize(
    ("raw", "status", "detail"),
    [
        (b"G?T / HTTP/1.1\r\n", 400, INVALID),
        (b"FLY / HTTP/1.1\r\n", 501, "method"),
        (b"get / HTTP/1.1\r\n", 400, INVALID),
        (b"GET / HTTP/9.9\r\n", 505, "HTTP/1.1"),
        (b"GET / HTTP1.1\r\n", 400, INVALID),
        (b"GET /\r\n", 400, INVALID),
        (b"GET / HTTP/1.1", 400, INVALID),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", 400, INVALID),
    ],
)
def test_what_llhttp_refuses_gets_the_status_that_says_it_best(raw, status, detail):
    error = refusal_of(raw)

    assert isinstance(error, HTTPError)
    assert error.status == status
    assert detail in error.detail


@given(st.binary(max_size=60))
def test_any_host_is_taken_or_refused_and_never_anything_else(host):
    raw = b"GET / HTTP/1.1\r\nHost: " + host.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n"
    try:
        head = read_head(raw, LIMITS)
    except HTTPError as error:
        assert error.status == 400  # noqa: PT017
    else:
        assert not set(head.host or b"") & set(b"/?#@ \\<>\"'`^{}|" if b"'" not in (head.host or b"") else b"/?#@ \\<>")
