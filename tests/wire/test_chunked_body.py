"""Chunked bodies: RFC 9112 7.1, sizes, extensions, trailers, and every line end of theirs."""

from __future__ import annotations

import pytest

from .applications import Journal, asgi_echo
from .conftest import Wire
from .exchange import exchange
from .serving import run, serve
from .table import DELIVERIES, Case, either, served, spoiled

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def good(name: str, chunks: bytes, body: bytes = b"hello") -> Case:
    return served(name, post(chunks), b"POST / " + body if body else b"POST /")


def bad(name: str, chunks: bytes, *statuses: int) -> Case:
    """A request follows, which a reader who forgives the error would find."""
    return spoiled(name, post(chunks) + SMUGGLED, *statuses)


def odd(name: str, chunks: bytes, body: bytes = b"hello") -> Case:
    return either(name, post(chunks), good("", chunks, body), spoiled("", b"", 400))


SIZES = [
    good("one chunk", b"5\r\nhello\r\n0\r\n\r\n"),
    good("five chunks", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"),
    good("none", b"0\r\n\r\n", b""),
    good("a lower-case size", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    good("an upper-case size", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    good(
        "two digits of mixed case",
        b"1a\r\n" + b"x" * 26 + b"\r\n1B\r\n" + b"y" * 27 + b"\r\n0\r\n\r\n",
        b"x" * 26 + b"y" * 27,
    ),
    good("zeros before the size", b"0005\r\nhello\r\n0\r\n\r\n"),
    good("zeros before the last size", b"5\r\nhello\r\n000\r\n\r\n"),
    odd("fifteen zeros before the size", b"0" * 15 + b"5\r\nhello\r\n0\r\n\r\n"),
    odd("forty zeros before the size", b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n"),
    good("CR LF in the data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    good("data that looks like the end", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    good("data that is a request", b"24\r\n" + SMUGGLED + b"\r\n0\r\n\r\n", SMUGGLED),
    good("64 KiB", b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n", b"x" * 65536),
    good("300 KB in chunks of 1,000", (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 300 + b"0\r\n\r\n", b"x" * 300_000),
    good("2,000 chunks of one byte", b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n", b"x" * 2000),
    served("two requests", post(b"5\r\nhello\r\n0\r\n\r\n") * 2, b"POST / hello", b"POST / hello"),
    served(
        "a request behind it",
        post(b"5\r\nhello\r\n0\r\n\r\n") + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / hello",
        b"GET /next",
    ),
]

BAD_SIZES = [
    bad("no size", b"\r\nhello\r\n0\r\n\r\n"),
    bad("nothing but empty lines", b"\r\n\r\n"),
    bad("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    bad("a letter", b"x\r\nhello\r\n0\r\n\r\n"),
    bad("a letter behind the size", b"5x\r\nhello\r\n0\r\n\r\n"),
    bad("a letter before the size", b"x5\r\nhello\r\n0\r\n\r\n"),
    bad("g", b"g\r\nhello\r\n0\r\n\r\n"),
    bad("a prefix 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    bad("a prefix 0X", b"0X5\r\nhello\r\n0\r\n\r\n"),
    bad("an h behind", b"5h\r\nhello\r\n0\r\n\r\n"),
    bad("a minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    bad("minus zero", b"-0\r\n\r\n"),
    bad("a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    bad("an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    bad("an underscore at once", b"0_2e\r\n\r\n"),
    bad("a decimal point", b"5.0\r\nhello\r\n0\r\n\r\n"),
    bad("a comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
    bad("quotes", b'"5"\r\nhello\r\n0\r\n\r\n'),
    bad("a space before", b" 5\r\nhello\r\n0\r\n\r\n"),
    bad("a tab before", b"\t5\r\nhello\r\n0\r\n\r\n"),
    bad("a space before the last size", b"5\r\nhello\r\n 0\r\n\r\n"),
    bad("a space inside", b"1 0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    bad("a NUL before", b"\x005\r\nhello\r\n0\r\n\r\n"),
    bad("a NUL behind", b"5\x00\r\nhello\r\n0\r\n\r\n"),
    bad("a vertical tab behind", b"5\x0b\r\nhello\r\n0\r\n\r\n"),
    bad("a form feed before", b"\x0c5\r\nhello\r\n0\r\n\r\n"),
    bad("a no-break space behind", b"5\xa0\r\nhello\r\n0\r\n\r\n"),
    bad("digits that are not ASCII", "５\r\nhello\r\n0\r\n\r\n".encode()),
    bad("two to the 64th", b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
    bad("two to the 64th and five", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    bad("seventeen f", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    bad("a hundred digits", b"5" * 100 + b"\r\nhello\r\n0\r\n\r\n"),
    bad("ten thousand digits", b"5" * 10_000 + b"\r\nhello\r\n0\r\n\r\n"),
    either(
        "a space behind (RFC 9112 7.1.1 knows none)", post(b"5 \r\nhello\r\n0\r\n\r\n"), good("", b""), spoiled("", b"")
    ),
    either("a tab behind", post(b"5\t\r\nhello\r\n0\r\n\r\n"), good("", b""), spoiled("", b"")),
    bad("a size of 16 KiB of spaces behind", b"5" + b" " * 17_000 + b"\r\nhello\r\n0\r\n\r\n"),
]

LINE_ENDS = [
    bad("LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
    bad("LF behind the last size", b"5\r\nhello\r\n0\n\r\n"),
    bad("LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
    bad("LF ends the body", b"5\r\nhello\r\n0\r\n\n"),
    bad("LFs everywhere", b"5\nhello\n0\n\n"),
    bad("CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
    bad("CR behind the data", b"5\r\nhello\r0\r\n\r\n"),
    bad("CR behind the last size", b"5\r\nhello\r\n0\r\r\n"),
    bad("CR CR LF behind the size", b"5\r\r\nhello\r\n0\r\n\r\n"),
    bad("CR CR LF behind the data", b"5\r\nhello\r\r\n0\r\n\r\n"),
    bad("CR and a letter behind the size", b"5\rXhello\r\n0\r\n\r\n"),
    bad("nothing behind the data", b"5\r\nhello0\r\n\r\n"),
    bad("two letters behind the data", b"5\r\nhelloXX0\r\n\r\n"),
    bad("two spaces behind the data", b"5\r\nhello  0\r\n\r\n"),
    bad("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n"),
    bad("data much longer than its size", b"5\r\nhello, world\r\n0\r\n\r\n"),
    bad("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
    bad("a letter behind the last CR", b"5\r\nhello\r\n0\r\n\rX"),
    bad("no empty line at the end", b"5\r\nhello\r\n0\r\n"),
    bad("the size twice", b"5\r\n5\r\nhello\r\n0\r\n\r\n"),
]

EXTENSIONS = [
    good("a name", b"5;a\r\nhello\r\n0\r\n\r\n"),
    good("a name and a value", b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    good("two", b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n"),
    good("on the last chunk", b"5\r\nhello\r\n0;a=b\r\n\r\n"),
    good("a quoted value", b'5;a="b c"\r\nhello\r\n0\r\n\r\n'),
    good("a quoted semicolon", b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
    good("an escaped quote", b'5;a="b\\"c"\r\nhello\r\n0\r\n\r\n'),
    good("an empty quoted value", b'5;a=""\r\nhello\r\n0\r\n\r\n'),
    good("a quoted value, then a name", b'5;a="b";c\r\nhello\r\n0\r\n\r\n'),
    good("every character of a token", b"5;!#$%&'*+-.^_`|~09azAZ\r\nhello\r\n0\r\n\r\n"),
    good("a name that looks like a size", b"5;5=5\r\nhello\r\n0\r\n\r\n"),
    good("200 bytes", b"5;" + b"a" * 200 + b"\r\nhello\r\n0\r\n\r\n"),
    odd("a space before the semicolon (BWS)", b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    odd("spaces around everything (BWS)", b"5 ; a = b\r\nhello\r\n0\r\n\r\n"),
    odd("a space behind the semicolon", b"5; a=b\r\nhello\r\n0\r\n\r\n"),
    odd("a semicolon and nothing", b"5;\r\nhello\r\n0\r\n\r\n"),
    odd("two semicolons", b"5;;a\r\nhello\r\n0\r\n\r\n"),
    odd("an equals sign and nothing", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    odd("no name", b"5;=b\r\nhello\r\n0\r\n\r\n"),
    odd("a space inside the value", b"5;a=b c\r\nhello\r\n0\r\n\r\n"),
    odd("an open quote", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    odd("text behind the quote", b'5;a="b"c\r\nhello\r\n0\r\n\r\n'),
    odd("a byte over 127 in quotes", b'5;a="\xff"\r\nhello\r\n0\r\n\r\n'),
    odd("a byte over 127", b"5;a=\xff\r\nhello\r\n0\r\n\r\n"),
    odd("a parenthesis", b"5;a=(b)\r\nhello\r\n0\r\n\r\n"),
    bad("an LF inside", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    bad("an LF ends it", b"5;a\nhello\r\n0\r\n\r\n"),
    bad("an LF ends the last one", b"5\r\nhello\r\n0;a\n\r\n"),
    bad("a bare CR inside", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    bad("a CR in quotes", b'5;a="\rb"\r\nhello\r\n0\r\n\r\n'),
    bad("an LF in quotes", b'5;a="\nb"\r\nhello\r\n0\r\n\r\n'),
    bad("a NUL inside", b"5;a\x00b\r\nhello\r\n0\r\n\r\n"),
    bad("a NUL in quotes", b'5;a="\x00"\r\nhello\r\n0\r\n\r\n'),
    bad("a control character", b"5;a=\x01\r\nhello\r\n0\r\n\r\n"),
    bad("no semicolon", b"5 a=b\r\nhello\r\n0\r\n\r\n"),
    bad("a CR LF in quotes ends the line: its data is too long", b'5;a="\r\nhello"\r\n0\r\n\r\n'),
    bad("5,000 bytes", b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", 400, 413, 431),
    bad("100,000 bytes", b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n", 400, 413, 431),
    bad("100,000 bytes on the last chunk", b"5\r\nhello\r\n0;" + b"a" * 100_000 + b"\r\n\r\n", 400, 413, 431),
    bad("5,000 bytes in quotes", b'5;a="' + b"a" * 5000 + b'"\r\nhello\r\n0\r\n\r\n', 400, 413, 431),
    bad(
        "twenty bytes on each of 1,000 chunks", (b"1;" + b"a" * 20 + b"\r\nx\r\n") * 1000 + b"0\r\n\r\n", 400, 413, 431
    ),
    bad("4,000 bytes on each of ten chunks", (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 10 + b"0\r\n\r\n", 400, 413, 431),
    bad("5,000 names", b"5" + b";a" * 5000 + b"\r\nhello\r\n0\r\n\r\n", 400, 413, 431),
    spoiled("100,000 bytes and no end", post(b"5;" + b"a" * 100_000), 400, 413, 431),
]


def trailer(name: str, fields: bytes) -> Case:
    return good(name, b"5\r\nhello\r\n0\r\n" + fields + b"\r\n")


def forbidden_trailer(name: bytes, value: bytes = b"x") -> Case:
    """Dropped or refused (RFC 9110 6.5.1), and never framing."""
    chunks = b"5\r\nhello\r\n0\r\n" + name + b": " + value + b"\r\n\r\n"
    return either(f"a trailer {name.decode()}", post(chunks), good("", chunks), spoiled("", b""))


TRAILERS = [
    trailer("a trailer", b"X: y\r\n"),
    trailer("two trailers", b"X: y\r\nZ: w\r\n"),
    trailer("a trailer without a space", b"X:y\r\n"),
    trailer("an empty trailer", b"X:\r\n"),
    trailer("a trailer of bytes over 127", b"X: \xff\r\n"),
    trailer("twenty trailers", b"X: y\r\n" * 20),
    served(
        "a trailer and a request behind it",
        post(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n") + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / hello",
        b"GET /next",
    ),
    served(
        "an announced trailer",
        b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",  # noqa: E501
        b"POST / hello",
    ),
    forbidden_trailer(b"Content-Length", b"36"),
    forbidden_trailer(b"Transfer-Encoding", b"chunked"),
    forbidden_trailer(b"Host", b"evil"),
    forbidden_trailer(b"Authorization"),
    forbidden_trailer(b"Cookie", b"a=b"),
    forbidden_trailer(b"Content-Type", b"text/html"),
    forbidden_trailer(b"Connection", b"close"),
    forbidden_trailer(b"Upgrade", b"websocket"),
    forbidden_trailer(b"Expect", b"100-continue"),
    forbidden_trailer(b"X-Forwarded-For", b"1.2.3.4"),
    bad("a space before the colon of a trailer", b"0\r\nX : y\r\n\r\n"),
    bad("no colon in a trailer", b"0\r\nX\r\n\r\n"),
    bad("no name in a trailer", b"0\r\n: y\r\n\r\n"),
    bad("a space before a trailer", b"0\r\n X: y\r\n\r\n"),
    bad("a folded trailer", b"0\r\nX: y\r\n z\r\n\r\n"),
    bad("an LF ends a trailer", b"0\r\nX: y\n\r\n"),
    bad("an LF ends the trailers", b"0\r\nX: y\r\n\n"),
    bad("a CR in a trailer", b"0\r\nX: a\rb\r\n\r\n"),
    bad("a CR ends a trailer", b"0\r\nX: a\rY: b\r\n\r\n"),
    bad("a NUL in a trailer", b"0\r\nX: a\x00b\r\n\r\n"),
    bad("a NUL in a trailer's name", b"0\r\nX\x00: y\r\n\r\n"),
    bad("a parenthesis in a trailer's name", b"0\r\nX(: y\r\n\r\n"),
    bad("a control character in a trailer", b"0\r\nX: \x01\r\n\r\n"),
    bad("CR CR LF ends the trailers", b"0\r\nX: y\r\n\r\r\n"),
    bad("a request instead of trailers", b"0\r\nGET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"),
    bad("a trailer of 10,000 bytes", b"0\r\nX: " + b"y" * 10_000 + b"\r\n\r\n", 400, 413, 431),
    bad("a trailer of 100,000 bytes", b"0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 400, 413, 431),
    bad("a trailer's name of 100,000 bytes", b"0\r\n" + b"X" * 100_000 + b": y\r\n\r\n", 400, 413, 431),
    bad("5,000 trailers", b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 400, 413, 431),
    spoiled("trailers without an end", post(b"0\r\n" + b"X: y\r\n" * 20_000), 400, 413, 431),
]

CASES = SIZES + BAD_SIZES + LINE_ENDS + EXTENSIONS + TRAILERS


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunked_body(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)


@pytest.mark.parametrize(
    "name", ["Content-Length", "Transfer-Encoding", "Authorization", "X-Admin", "Cookie", "X-Forwarded-For"]
)
def test_trailers_never_become_headers(name: str) -> None:
    async def main() -> None:
        journal = Journal()
        async with serve(asgi_echo(journal)) as address:
            outcome = await exchange(
                address, journal, [post(b"5\r\nhello\r\n0\r\n" + name.encode() + b": 36\r\n\r\n")], 1
            )
        for seen in outcome.seen:
            names = {key for key, _ in seen.headers}
            assert names <= {b"host", b"transfer-encoding"}
        assert outcome.finals

    run(main())
