"""The request line: RFC 9112 3, RFC 9110 4 and 9, RFC 3986."""

from __future__ import annotations

import pytest

from .conftest import Wire
from .table import DELIVERIES, Case, either, refused, served


def line(first: bytes) -> bytes:
    """A whole request with this request line and Host ``a``."""
    return first + b"\r\nHost: a\r\n\r\n"


def target(name: str, raw: bytes) -> Case:
    """A target that an origin server must take as it is."""
    return served(name, line(b"GET " + raw + b" HTTP/1.1"), b"GET " + raw)


def bad_target(name: str, raw: bytes, *statuses: int) -> Case:
    return refused(name, line(b"GET " + raw + b" HTTP/1.1"), *statuses)


def tolerable_target(name: str, raw: bytes) -> Case:
    """Outside the grammar, harmless, and sent by real clients: taken raw, or refused."""
    sent = line(b"GET " + raw + b" HTTP/1.1")
    return either(name, sent, target("", raw), refused("", sent), kept_refusal(400))


def kept_refusal(*statuses: int) -> Case:
    """Refused by the router rather than by the parser: the framing is sound, so the connection may live on."""
    one = refused("", b"", *statuses)
    return Case("", b"", tuple(type(wanted)(wanted.statuses, None, wanted.saw) for wanted in one.wanted))


def method(raw: bytes, *, known: bool) -> Case:
    """A well-formed method: a known one is served or 405, an unknown one 501, 405, or 400."""
    sent = raw + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
    kept = kept_refusal(405, 501) if known else kept_refusal(400, 405, 501)
    return either(f"method {raw.decode()}", sent, served("", sent, raw + b" /"), kept)


def version(raw: bytes, *statuses: int) -> Case:
    return refused(f"version {raw!r}", line(b"GET / " + raw), *(statuses or (400, 505)))


METHODS = [
    served("GET", line(b"GET / HTTP/1.1"), b"GET /"),
    served("HEAD", line(b"HEAD / HTTP/1.1"), b"HEAD /", heads=[0]),
    served("POST without a body", line(b"POST / HTTP/1.1"), b"POST /"),
    served("PUT", line(b"PUT / HTTP/1.1"), b"PUT /"),
    served("PATCH", line(b"PATCH / HTTP/1.1"), b"PATCH /"),
    served("DELETE", line(b"DELETE / HTTP/1.1"), b"DELETE /"),
    served("OPTIONS", line(b"OPTIONS / HTTP/1.1"), b"OPTIONS /"),
    *(
        method(raw, known=True)
        for raw in (b"TRACE", b"PROPFIND", b"MKCOL", b"REPORT", b"PURGE", b"M-SEARCH", b"SUBSCRIBE")
    ),
    *(
        method(raw, known=False)
        for raw in (b"get", b"Get", b"gET", b"FOO", b"BREW", b"GETT", b"GE", b"G", b"XGET", b"GET-", b"QUERY")
    ),
    *(method(raw, known=False) for raw in (b"!", b"#$%&'*+-.^_`|~", b"A" * 64, b"1", b"POST0")),
    refused("a method of 100 bytes", line(b"A" * 100 + b" / HTTP/1.1"), 400, 405, 501),
    refused("a method of 9,000 bytes", line(b"A" * 9000 + b" / HTTP/1.1"), 400, 414, 501),
    refused("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, 404, 405, 501),
    refused("CONNECT in origin form", line(b"CONNECT / HTTP/1.1"), 400, 404, 405, 501),
    refused(
        "CONNECT, then a request for the tunnel",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        404,
        405,
        501,
    ),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 405, 501, 505),
    refused("no method", line(b" / HTTP/1.1")),
    refused("a space before the method", line(b" GET / HTTP/1.1")),
    refused("a tab before the method", line(b"\tGET / HTTP/1.1")),
    *(
        refused(f"{byte!r} in the method", line(b"G" + byte + b"T / HTTP/1.1"))
        for byte in (
            b"?",
            b"(",
            b")",
            b"<",
            b">",
            b"@",
            b",",
            b";",
            b":",
            b"\\",
            b'"',
            b"/",
            b"[",
            b"]",
            b"=",
            b"{",
            b"}",
            b"\x00",
            b"\x01",
            b"\x7f",
            b"\x80",
            b"\xc3\xa9",
        )
    ),
    refused("a tab after the method", line(b"GET\t/ HTTP/1.1")),
    refused("two spaces after the method", line(b"GET  / HTTP/1.1")),
    refused("a vertical tab after the method", line(b"GET\x0b/ HTTP/1.1")),
    refused("text before the request", b"Extra lineGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 501),
    refused("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x8a" * 40, 400),
    refused("a PROXY line", b"PROXY TCP4 1.2.3.4 1.2.3.5 80 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 501, 505),
    refused("a response", b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n", 400, 501, 505),
    refused("a method glued by a NUL", line(b"\x00GET / HTTP/1.1")),
]

EMPTY_LINES = [
    served("one empty line first (RFC 9112 2.2)", b"\r\n" + line(b"GET / HTTP/1.1"), b"GET /"),
    either("two empty lines first", b"\r\n\r\n" + line(b"GET / HTTP/1.1"), served("", b"", b"GET /"), refused("", b"")),
    either("a bare LF first", b"\n" + line(b"GET / HTTP/1.1"), served("", b"", b"GET /"), refused("", b"")),
    either("a bare CR first", b"\r" + line(b"GET / HTTP/1.1"), served("", b"", b"GET /"), refused("", b"")),
    refused("a line with a space first", b" \r\n" + line(b"GET / HTTP/1.1")),
]

TARGETS = [
    target("a path", b"/a/b"),
    target("a query", b"/a?b=c&d"),
    target("an empty query of a path with more", b"/a?b="),
    target("two question marks", b"/a?b?c"),
    target("a slash in the query", b"/a?b=/c"),
    target("a percent-encoded letter stays raw", b"/%41"),
    target("a percent-encoded slash stays raw", b"/a%2Fb"),
    target("a percent-encoded question mark", b"/a%3Fb"),
    target("two slashes", b"//evil/x"),
    target("three slashes", b"///"),
    target("dot segments are not resolved", b"/a/../b/./c"),
    target("encoded dot segments", b"/%2e%2e/x"),
    target("a path parameter", b"/a;b=c"),
    target("a tilde", b"/~user"),
    target("a colon", b"/:x"),
    target("an at sign", b"/a@b"),
    target("all sub-delimiters", b"/!$&'()*+,;="),
    target("UTF-8, encoded", b"/caf%C3%A9"),
    target("an address in the path", b"/http://a/b"),
    target("a long path", b"/" + b"a" * 8000),
    target("a long query", b"/?" + b"a" * 8000),
    target("an asterisk in the path", b"/*"),
    target("percent-encoded in the query", b"/?%00%ff"),
    either("an empty query", line(b"GET /? HTTP/1.1"), served("", b"", b"GET /?"), served("", b"", b"GET /")),
    tolerable_target("a double quote", b'/a"b'),
    tolerable_target("angle brackets", b"/<a>"),
    tolerable_target("a backslash", b"/a\\b"),
    tolerable_target("a caret", b"/a^b"),
    tolerable_target("a backtick", b"/a`b"),
    tolerable_target("braces", b"/{a}"),
    tolerable_target("a bar", b"/a|b"),
    tolerable_target("square brackets in the query", b"/?a[]=1"),
    tolerable_target("a percent sign with no digits", b"/%zz"),
    tolerable_target("a percent sign at the end", b"/a%"),
    tolerable_target("half an escape", b"/a%4"),
    tolerable_target("encoded bytes that are no UTF-8", b"/%ff%fe"),
    tolerable_target("an overlong slash", b"/%c0%af"),
    either("an encoded NUL", line(b"GET /a%00b HTTP/1.1"), refused("", b""), kept_refusal(400)),
    bad_target("none", b""),
    bad_target("a fragment", b"/a#b"),
    bad_target("a space in the path", b"/a b"),
    bad_target("a tab in the path", b"/a\tb"),
    bad_target("a NUL in the path", b"/a\x00b"),
    bad_target("a control character in the path", b"/a\x01b"),
    bad_target("DEL in the path", b"/a\x7fb"),
    bad_target("a vertical tab in the path", b"/a\x0bb"),
    bad_target("a bare CR in the path", b"/a\rb"),
    bad_target("a bare LF in the path", b"/a\nb"),
    bad_target("a raw byte over 127 in the path", b"/caf\xc3\xa9"),
    bad_target("a raw byte over 127 in the query", b"/?a=\xff"),
    bad_target("a space in the query", b"/?x=y z"),
    bad_target("no leading slash", b"index.html"),
    bad_target("only a query", b"?a=b"),
    bad_target("an exclamation mark", b"!"),
    bad_target("a dot", b"."),
    bad_target("a backslash instead of the slash", b"\\"),
    bad_target("authority form with GET (RFC 9112 3.2.3)", b"a:80"),
    bad_target("only a host", b"a"),
    bad_target("asterisk form with GET (RFC 9112 3.2.4)", b"*"),
    bad_target("two asterisks", b"**"),
    refused("asterisk form with POST", line(b"POST * HTTP/1.1")),
    refused("asterisk form with HEAD", line(b"HEAD * HTTP/1.1"), heads=[0]),
    refused("asterisks and OPTIONS", line(b"OPTIONS *x HTTP/1.1")),
    either(
        "asterisk form with OPTIONS",
        line(b"OPTIONS * HTTP/1.1"),
        served("", b"", b"OPTIONS *"),
        kept_refusal(200, 204),
    ),
    bad_target("9,000 bytes of path", b"/" + b"a" * 9000, 414),
    bad_target("9,000 bytes of query", b"/?" + b"a" * 9000, 414),
    bad_target("100,000 bytes of path", b"/" + b"a" * 100_000, 414),
    refused("100,000 bytes and no end", b"GET /" + b"a" * 100_000, 414),
    refused("100,000 bytes that are no request", b"x" * 100_000, 400, 414, 501),
]

ABSOLUTE = [
    served("absolute form", line(b"GET http://a/x HTTP/1.1"), b"GET /x"),
    served("absolute form with a query", line(b"GET http://a/x?y=z HTTP/1.1"), b"GET /x?y=z"),
    served("absolute form without a path", line(b"GET http://a HTTP/1.1"), b"GET /"),
    either(
        "absolute form, query without a path",
        line(b"GET http://a?y=z HTTP/1.1"),
        served("", b"", b"GET /?y=z"),
        refused("", b""),
    ),
    served("absolute form in capitals (RFC 9110 4.2.3)", line(b"GET HTTP://A/x HTTP/1.1"), b"GET /x"),
    served("absolute form with a port", b"GET http://a:8080/x HTTP/1.1\r\nHost: a:8080\r\n\r\n", b"GET /x"),
    served("absolute form with IPv6", b"GET http://[::1]:8000/x HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", b"GET /x"),
    served(
        "absolute form with POST", b"POST http://a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", b"POST /x hi"
    ),
    either(
        "absolute form, default port in one place",
        line(b"GET http://a:80/x HTTP/1.1"),
        served("", b"", b"GET /x"),
        refused("", b""),
    ),
    either(
        "absolute form, empty port", line(b"GET http://a:/x HTTP/1.1"), served("", b"", b"GET /x"), refused("", b"")
    ),
    either(
        "absolute form over https",
        line(b"GET https://a/x HTTP/1.1"),
        served("", b"", b"GET /x"),
        refused("", b"", 400, 421),
    ),
    either(
        "absolute form of OPTIONS without a path",
        line(b"OPTIONS http://a HTTP/1.1"),
        served("", b"", b"OPTIONS *"),
        served("", b"", b"OPTIONS /"),
        kept_refusal(200, 204, 400),
    ),
    either(
        "absolute form in 1.0 without Host",
        b"GET http://a/x HTTP/1.0\r\n\r\n",
        served("", b"", b"GET /x", kept=False),
        refused("", b""),
    ),
    refused("absolute form and another Host", line(b"GET http://evil/x HTTP/1.1")),
    refused("absolute form and another port", b"GET http://a:81/x HTTP/1.1\r\nHost: a:82\r\n\r\n"),
    refused("absolute form with a port, Host without", b"GET http://a:81/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("absolute form, Host is a suffix", b"GET http://evil.a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("absolute form, Host is a prefix", b"GET http://a.evil/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("absolute form and an empty Host", b"GET http://a/x HTTP/1.1\r\nHost:\r\n\r\n"),
    refused("absolute form without Host", b"GET http://a/x HTTP/1.1\r\n\r\n"),
    refused("absolute form and two Hosts", b"GET http://a/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    refused("absolute form with user information (RFC 9110 4.2.4)", line(b"GET http://user@a/x HTTP/1.1")),
    refused("absolute form with a password", line(b"GET http://user:pw@a/x HTTP/1.1")),
    refused("absolute form, user information that looks like Host", line(b"GET http://a@evil/x HTTP/1.1")),
    refused("absolute form without a host (RFC 9110 4.2.1)", line(b"GET http:///x HTTP/1.1")),
    refused("absolute form, only a scheme", line(b"GET http:// HTTP/1.1")),
    refused("absolute form, only a port", line(b"GET http://:80/x HTTP/1.1")),
    refused("absolute form with one slash", line(b"GET http:/a HTTP/1.1")),
    refused("absolute form without slashes", line(b"GET http:a HTTP/1.1")),
    refused("absolute form without a scheme", line(b"GET ://a/x HTTP/1.1")),
    refused("absolute form, letters in the port", line(b"GET http://a:8x/x HTTP/1.1")),
    refused("absolute form, broken IPv6", b"GET http://[::1/x HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    refused("absolute form, backslash in the host", line(b"GET http://a\\b/x HTTP/1.1")),
    refused("absolute form with a fragment", line(b"GET http://a/x#y HTTP/1.1")),
    refused("absolute form of another scheme", line(b"GET ftp://a/x HTTP/1.1"), 400, 421),
    refused("absolute form of javascript", line(b"GET javascript:alert(1) HTTP/1.1")),
]

VERSIONS = [
    served("1.1", line(b"GET / HTTP/1.1"), b"GET /"),
    served("1.0", line(b"GET / HTTP/1.0"), b"GET /", kept=False),
    served("1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", b"GET /", kept=False),
    either("1.2", line(b"GET / HTTP/1.2"), served("", b"", b"GET /", kept=None), refused("", b"", 400, 505)),
    refused("none, with a header", line(b"GET /"), 400, 505),
    refused("none: a simple request of 0.9", b"GET /\r\n\r\n", 400, 505),
    refused("none, after a space", b"GET / \r\n\r\n", 400, 505),
    version(b"HTTP/0.9"),
    version(b"HTTP/0.1"),
    version(b"HTTP/2.0", 505, 400),
    version(b"HTTP/2"),
    version(b"HTTP/2.1"),
    version(b"HTTP/3.0"),
    version(b"HTTP/9.9"),
    version(b"HTTP/1"),
    version(b"HTTP/1."),
    version(b"HTTP/.1"),
    version(b"HTTP/11"),
    version(b"HTTP/1.10"),
    version(b"HTTP/1.01"),
    version(b"HTTP/01.1"),
    version(b"HTTP/1.1.1"),
    version(b"HTTP/1,1"),
    version(b"HTTP/-1.1"),
    version(b"HTTP/+1.1"),
    version(b"HTTP/1.-1"),
    version(b"HTTP/1.x"),
    version(b"HTTP/x.1"),
    version(b"HTTP/\xef\xbc\x91.1"),
    version(b"HTTP/"),
    version(b"HTTP"),
    version(b"HTTP1.1"),
    version(b"HTTP 1.1"),
    version(b"HTTP/ 1.1"),
    version(b"HTTP/1 .1"),
    version(b"HTTP//1.1"),
    version(b"HTTP\\1.1"),
    version(b"http/1.1"),
    version(b"Http/1.1"),
    version(b"HTTPS/1.1"),
    version(b"HTP/1.1"),
    version(b"XTTP/1.1"),
    version(b"RTSP/1.0"),
    version(b"ICE/1.0"),
    version(b"HTTP/1.1 "),
    version(b"HTTP/1.1\t"),
    version(b"HTTP/1.1 x"),
    version(b"HTTP/1.1\x00"),
    version(b"HTTP/1.1\x0b"),
    version(b" HTTP/1.1"),
    version(b"\tHTTP/1.1"),
    version(b"HTTP/1.1\r"),
    version(b"HTTP/\r\r1.1"),
    refused("a bare LF ends the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    refused("a bare CR ends the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    refused("an LF instead of the space", b"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", 400, 505),
    refused("LF and CR swapped", b"GET / HTTP/1.1\n\rHost: a\r\n\r\n"),
]

CASES = METHODS + EMPTY_LINES + TARGETS + ABSOLUTE + VERSIONS


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_request_line(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)
