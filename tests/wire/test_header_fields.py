"""Header fields: RFC 9112 5 and 2.2, RFC 9110 5.5 and 5.6, RFC 6585 5."""

from __future__ import annotations

import pytest

from .conftest import Wire
from .table import DELIVERIES, Case, either, refused, served

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"


def with_lines(lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"


def good(name: str, lines: bytes) -> Case:
    return served(name, with_lines(lines), b"GET /")


def bad(name: str, lines: bytes, *statuses: int) -> Case:
    """With a request behind it, that a reader who mends the field would find."""
    return refused(name, with_lines(lines) + SMUGGLED, *statuses)


def odd(name: str, lines: bytes) -> Case:
    return either(name, with_lines(lines), served("", b"", b"GET /"), refused("", b""))


GOOD = [
    good("none but Host", b""),
    good("one", b"X: y\r\n"),
    good("no space behind the colon", b"X:y\r\n"),
    good("many spaces behind the colon", b"X:     y\r\n"),
    good("a tab behind the colon", b"X:\ty\r\n"),
    good("spaces and tabs at the end", b"X: y \t \r\n"),
    good("an empty value", b"X:\r\n"),
    good("a value of spaces", b"X:   \r\n"),
    good("spaces inside the value", b"X: a b\tc\r\n"),
    good("colons in the value", b"X: a:b::c\r\n"),
    good("every visible character in the value", b"X: " + bytes(range(0x21, 0x7F)) + b"\r\n"),
    good("bytes over 127 in the value (obs-text)", b"X: caf\xc3\xa9 \xff\x80\r\n"),
    good("every character of a token in the name", b"!#$%&'*+-.^_`|~09azAZ: y\r\n"),
    good("a name of one digit", b"1: y\r\n"),
    good("a name of 200 letters", b"x" * 200 + b": y\r\n"),
    good("a value of 8,000 bytes", b"X: " + b"y" * 8000 + b"\r\n"),
    good("a value of 20,000 bytes", b"Cookie: " + b"y" * 20_000 + b"\r\n"),
    good("a name twice", b"X: a\r\nX: b\r\n"),
    good("ninety of them", b"".join(b"X-%d: y\r\n" % index for index in range(90))),
    good("100 with Host", b"".join(b"X-%d: y\r\n" % index for index in range(99))),
    good("an underscore in the name", b"X_Y: z\r\n"),
    good("Content_Length frames nothing", b"Content_Length: 5\r\n"),
    good("X-Content-Length frames nothing", b"X-Content-Length: 5\r\n"),
    good("Trailer, TE and Via", b"Trailer: X\r\nTE: trailers\r\nVia: 1.1 proxy\r\n"),
    good("Proxy-Connection", b"Proxy-Connection: keep-alive\r\n"),
    good("two Cookies", b"Cookie: a=b\r\nCookie: c=d\r\n"),
    good("Content-Type twice is the application's business", b"Accept: a/b\r\nAccept: c/d\r\n"),
    good(
        "a browser's",
        b'User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nSec-Fetch-Mode: navigate\r\nCookie: a=b; c="d"\r\n',  # noqa: E501
    ),
]

LINE_ENDS = [
    refused("a bare LF ends a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n" + SMUGGLED),
    refused("bare LFs everywhere", b"GET / HTTP/1.1\nHost: a\n\n" + SMUGGLED),
    refused("a bare LF ends the head", b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED),
    refused("a bare LF behind the last field, then CR LF", b"GET / HTTP/1.1\r\nHost: a\n\r\n" + SMUGGLED),
    refused("a bare CR ends a field", b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    refused("bare CRs everywhere", b"GET / HTTP/1.1\rHost: a\r\rX: y\r\n\r\n"),
    refused("a bare CR begins a line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"),
    refused("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n" + SMUGGLED),
    refused("CR CR LF ends the head", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n" + SMUGGLED),
    refused("LF CR", b"GET / HTTP/1.1\r\nHost: a\n\r\n\r" + SMUGGLED),
    bad("a bare CR in the value", b"X: a\rb\r\n"),
    bad("a bare CR hides a field", b"Visible: x\rTransfer-Encoding: chunked\r\n"),
    bad("a bare LF hides a field", b"Visible: x\nContent-Length: 36\r\n"),
    bad("a bare LF in the value", b"X: a\nb\r\n"),
    bad("CR and NUL in the value", b"X: v\x00\ralue\r\n"),
]

FOLDS = [
    bad("a fold with a space", b"X: a\r\n b\r\n"),
    bad("a fold with a tab", b"X: a\r\n\tb\r\n"),
    bad("a fold of an empty value", b"X:\r\n a\r\n"),
    bad("a fold that is empty", b"X: a\r\n \r\n"),
    bad("a fold of many lines", b"X: a\r\n b\r\n c\r\n"),
    bad("a fold that holds a framing field", b"X: a\r\n Transfer-Encoding: chunked\r\n"),
    refused("a fold of the request line", b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
    refused("a fold of the request line with a tab", b"GET / HTTP/1.1\r\n\tContent-Length: 1\r\nHost: a\r\n\r\nX"),
    refused("a fold of Host", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
    refused("a line of a space ends the head", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n" + SMUGGLED),
]

NAMES = [
    bad("a space before the colon", b"X : y\r\n"),
    bad("a tab before the colon", b"X\t: y\r\n"),
    bad("a space inside the name", b"X Y: z\r\n"),
    bad("no colon", b"X\r\n"),
    bad("no colon, with text", b"X y z\r\n"),
    bad("no name", b": y\r\n"),
    bad("only a colon", b":\r\n"),
    bad("a double colon first", b":: y\r\n"),
    refused("no name, first of all", b"GET / HTTP/1.1\r\n: ignored\r\nHost: a\r\n\r\n"),
    *(
        bad(f"{byte!r} in the name", b"X" + byte + b"Y: z\r\n")
        for byte in (b"(", b")", b"<", b">", b"@", b",", b";", b"\\", b'"', b"/", b"[", b"]", b"?", b"=", b"{", b"}")
    ),
    *(
        bad(f"{byte!r} in the name", b"X" + byte + b"Y: z\r\n")
        for byte in (
            b"\x00",
            b"\x01",
            b"\x08",
            b"\x0b",
            b"\x0c",
            b"\x1f",
            b"\x7f",
            b"\x80",
            b"\xa0",
            b"\xef",
            b"\xff",
            "é".encode(),
        )
    ),
    bad("a byte over 127 first", b"\xefX: y\r\n"),
    bad("brackets at the end of the name", b"X-Invalid[]: y\r\n"),
    bad("a quoted name", b'"X": y\r\n'),
    bad("an equals sign instead of the colon", b"X= y\r\n"),
    bad("a request line among the fields", b"GET /x HTTP/1.1\r\n"),
]

VALUES = [
    *(
        bad(f"{byte!r} in the value", b"X: a" + byte + b"b\r\n")
        for byte in (b"\x00", b"\x01", b"\x07", b"\x08", b"\x0b", b"\x0c", b"\x0e", b"\x1b", b"\x1f", b"\x7f")
    ),
    bad("NUL is the value", b"X: \x00\r\n"),
    bad("NUL behind the colon", b"X:\x00y\r\n"),
    bad("NUL at the end", b"X: y\x00\r\n"),
    bad("an escape sequence", b"X: \x1b[31m\r\n"),
    refused("NUL behind the head's last field", b"GET / HTTP/1.1\r\nHost: a\r\n\x00\r\n\r\n"),
]

SIZES = [
    bad("a value of 40,000 bytes", b"X: " + b"y" * 40_000 + b"\r\n", 431),
    bad("a name of 40,000 bytes", b"X" * 40_000 + b": y\r\n", 431),
    bad("40,000 bytes of spaces", b"X: " + b" " * 40_000 + b"y\r\n", 431),
    bad("40,000 bytes in all", b"".join(b"X-%d: %b\r\n" % (index, b"y" * 500) for index in range(78)), 431),
    bad("101 with Host", b"".join(b"X-%d: y\r\n" % index for index in range(100)), 431),
    bad("2,000 empty ones", b"X:\r\n" * 2000, 431),
    bad("10,000", b"X: y\r\n" * 10_000, 431),
    bad("1,000 Cookies", b"Cookie: a=b\r\n" * 1000, 431),
    refused("40,000 bytes and no end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000, 431),
    refused("40,000 bytes of a name and no end", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"y" * 40_000, 431),
    refused("a head of 1,000,000 bytes", with_lines(b"X: " + b"y" * 1_000_000 + b"\r\n"), 431),
]

ODD = [
    odd("Connection with an empty list", b"Connection:\r\n"),
    odd("Content-Type twice, different", b"Content-Type: a/b\r\nContent-Type: c/d\r\n"),
]

CASES = GOOD + LINE_ENDS + FOLDS + NAMES + VALUES + SIZES + ODD


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_header_fields(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)
