"""Content-Length: RFC 9110 8.6, RFC 9112 6."""

from __future__ import annotations

import pytest

from .conftest import Wire
from .table import DELIVERIES, Case, either, refused, served

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"
assert len(SMUGGLED) == 36


def post(fields: bytes, body: bytes = b"hello") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def bad(name: str, value: bytes) -> Case:
    """The body is a request: whoever reads another length than the sender finds it."""
    return refused(name, post(b"Content-Length:" + value + b"\r\n", SMUGGLED))


GOOD = [
    served("5", post(b"Content-Length: 5\r\n"), b"POST / hello"),
    served("0", post(b"Content-Length: 0\r\n", b""), b"POST /"),
    served("none", post(b"", b""), b"POST /"),
    served("no space", post(b"Content-Length:5\r\n"), b"POST / hello"),
    served("spaces around", post(b"Content-Length:   5   \r\n"), b"POST / hello"),
    served("tabs around", post(b"Content-Length:\t5\t\r\n"), b"POST / hello"),
    served("in capitals", post(b"CONTENT-LENGTH: 5\r\n"), b"POST / hello"),
    either("leading zeros", post(b"Content-Length: 0005\r\n"), served("", b"", b"POST / hello"), refused("", b"")),
    served("a body of CR LFs", post(b"Content-Length: 4\r\n", b"\r\n\r\n"), b"POST / \r\n\r\n"),
    served("a body of NULs", post(b"Content-Length: 3\r\n", b"\x00\x00\x00"), b"POST / \x00\x00\x00"),
    served("a body that is a request", post(b"Content-Length: 36\r\n", SMUGGLED), b"POST / " + SMUGGLED),
    served("a body that looks chunked", post(b"Content-Length: 5\r\n", b"0\r\n\r\n"), b"POST / 0\r\n\r\n"),
    served("a body of 64 KiB", post(b"Content-Length: 65536\r\n", b"x" * 65536), b"POST / " + b"x" * 65536),
    served("a body of 300,000 bytes", post(b"Content-Length: 300000\r\n", b"x" * 300_000), b"POST / " + b"x" * 300_000),
    served(
        "a body and a request behind it",
        post(b"Content-Length: 5\r\n") + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / hello",
        b"GET /next",
    ),
    served("a body and a body", post(b"Content-Length: 5\r\n") * 2, b"POST / hello", b"POST / hello"),
    served("PUT", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"PUT / hello"),
    served("PATCH", b"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"PATCH / hello"),
    served("DELETE", b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"DELETE / hello"),
    served("OPTIONS", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"OPTIONS / hello"),
    served("GET with a body", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"GET / hello"),
    served(
        "GET with a body that is a request",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n" + SMUGGLED,
        b"GET / " + SMUGGLED,
    ),
    served(
        "HEAD with a body", b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b"HEAD / hello", heads=[0]
    ),
    served("GET with 0", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"GET /"),
    served("1.0", b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", b"POST / hello", kept=False),
    served("1.0 without one has no body", b"POST / HTTP/1.0\r\n\r\n", b"POST /", kept=False),
]

VALUES = [
    bad("empty", b""),
    bad("spaces", b"   "),
    bad("a word", b" five"),
    bad("letters behind", b" 36x"),
    bad("letters before", b" x36"),
    bad("a plus", b" +36"),
    bad("a minus", b" -36"),
    bad("minus zero", b" -0"),
    bad("a huge negative number", b" -123456789123456789123456789"),
    bad("a decimal point", b" 36.0"),
    bad("an exponent", b" 3e1"),
    bad("hexadecimal", b" 0x24"),
    bad("octal", b" 0o44"),
    bad("an underscore", b" 3_6"),
    bad("an underscore and a plus", b" +1_0"),
    bad("a space inside", b" 3 6"),
    bad("a tab inside", b" 3\t6"),
    bad("a semicolon", b" 36;"),
    bad("a comma at the end", b" 36,"),
    bad("a comma first", b" ,36"),
    bad("only a comma", b" ,"),
    bad("a list of different values", b" 36, 0"),
    bad("a list of different values without a space", b" 0,36"),
    bad("quotes", b' "36"'),
    bad("apostrophes", b" '36'"),
    bad("NUL behind", b" 36\x00"),
    bad("NUL before", b" \x0036"),
    bad("a vertical tab", b" 36\x0b"),
    bad("a form feed before", b" \x0c36"),
    bad("a no-break space", b" \xa036"),
    bad("digits that are not ASCII", " ３６".encode()),
    bad("superscript digits", " ³⁶".encode()),
    bad("a bare CR", b" 3\r6"),
    bad("a fold", b"\r\n 36"),
    bad("chunked", b" chunked"),
    bad("two to the 64th", b" 18446744073709551616"),
    bad("two to the 64th and 36", b" 18446744073709551652"),
    bad("thirty digits", b" " + b"9" * 30),
    bad("three hundred digits", b" " + b"9" * 300),
    refused("a word on GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n"),
    refused("a minus on GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1234\r\n\r\n"),
    refused("a word in 1.0", b"POST / HTTP/1.0\r\nContent-Length: abc\r\n\r\n"),
    refused("a space before the colon", post(b"Content-Length : 36\r\n", SMUGGLED)),
    refused("a tab before the colon", post(b"Content-Length\t: 36\r\n", SMUGGLED)),
    refused("a space before the name", post(b" Content-Length: 36\r\n", SMUGGLED)),
    refused("a NUL in the name", post(b"Content-\x00Length: 36\r\n", SMUGGLED)),
    refused("a vertical tab in the name", post(b"Content-Length\x0b: 36\r\n", SMUGGLED)),
]

TWICE = [
    either(
        "twice the same (RFC 9110 8.6)",
        post(b"Content-Length: 5\r\nContent-Length: 5\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b""),
    ),
    either("a list of the same", post(b"Content-Length: 5, 5\r\n"), served("", b"", b"POST / hello"), refused("", b"")),
    refused("twice, different", post(b"Content-Length: 36\r\nContent-Length: 0\r\n", SMUGGLED)),
    refused("twice, different, the other way round", post(b"Content-Length: 0\r\nContent-Length: 36\r\n", SMUGGLED)),
    refused("twice, in different case", post(b"Content-Length: 36\r\ncontent-length: 0\r\n", SMUGGLED)),
    refused("twice, apart", post(b"Content-Length: 36\r\nX: y\r\nContent-Length: 0\r\n", SMUGGLED)),
    refused("twice, one empty", post(b"Content-Length: 36\r\nContent-Length:\r\n", SMUGGLED)),
    refused("twice, one broken", post(b"Content-Length: 36\r\nContent-Length: x\r\n", SMUGGLED)),
    refused("twice, the first broken", post(b"Content-Length: x\r\nContent-Length: 36\r\n", SMUGGLED)),
    refused(
        "twice, one zero-padded and one not the same", post(b"Content-Length: 036\r\nContent-Length: 0\r\n", SMUGGLED)
    ),
    refused("three times", post(b"Content-Length: 36\r\nContent-Length: 36\r\nContent-Length: 0\r\n", SMUGGLED)),
]

BESIDE_CHUNKED = [
    refused("beside chunked", post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    refused("behind chunked", post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED)),
    refused("0 beside chunked", post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    refused(
        "far from chunked", post(b"Content-Length: 5\r\nX: y\r\nY: z\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")
    ),
    refused("beside Chunked in capitals", post(b"Content-Length: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n", b"0\r\n\r\n")),
    refused("beside identity", post(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), 400, 501),
    refused("beside gzip", post(b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"), 400, 501),
    refused("beside an unknown coding", post(b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"), 400, 501),
    refused("beside an empty coding", post(b"Content-Length: 5\r\nTransfer-Encoding:\r\n"), 400, 501),
    refused("broken, beside chunked", post(b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    refused(
        "beside chunked on GET", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
    ),
    refused(
        "beside chunked on HEAD",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        heads=[0],
    ),
    refused(
        "beside chunked in 1.0", b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
]

OVERRUN = [
    refused(
        "shorter than the body: the rest is garbage",
        post(b"Content-Length: 5\r\n", b"hello, world\r\n\r\n"),
        400,
        501,
        505,
        after=[b"POST / hello"],
    ),
    refused("0, and a body", post(b"Content-Length: 0\r\n", b"hello\r\n\r\n"), 400, 501, 505, after=[b"POST /"]),
    refused("none, and a body", post(b"", b"hello\r\n\r\n"), 400, 501, 505, after=[b"POST /"]),
]

CASES = GOOD + VALUES + TWICE + BESIDE_CHUNKED + OVERRUN


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_content_length(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)
