"""Transfer-Encoding: RFC 9112 6.1 and 7. Only ``chunked``, once, alone, in HTTP/1.1."""

from __future__ import annotations

import pytest

from .conftest import Wire
from .table import DELIVERIES, Case, either, refused, served

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def post(fields: bytes, body: bytes = HELLO) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def bad(name: str, value: bytes) -> Case:
    """The body ends a chunked one at once; whoever reads no chunks finds another request."""
    return refused(name, post(b"Transfer-Encoding:" + value + b"\r\n", b"0\r\n\r\n" + SMUGGLED), 400, 501)


GOOD = [
    served("chunked", post(b"Transfer-Encoding: chunked\r\n"), b"POST / hello"),
    served("chunked in capitals", post(b"TRANSFER-ENCODING: CHUNKED\r\n"), b"POST / hello"),
    served("chunked in mixed case", post(b"transfer-Encoding: cHunKed\r\n"), b"POST / hello"),
    served("no space", post(b"Transfer-Encoding:chunked\r\n"), b"POST / hello"),
    served("spaces around", post(b"Transfer-Encoding:   chunked   \r\n"), b"POST / hello"),
    served("a tab before", post(b"Transfer-Encoding:\tchunked\r\n"), b"POST / hello"),
    either(
        "a tab behind",
        post(b"Transfer-Encoding: chunked\t\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b"", 400, 501),
    ),
    served("an empty body", post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), b"POST /"),
    served(
        "a request behind it",
        post(b"Transfer-Encoding: chunked\r\n") + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / hello",
        b"GET /next",
    ),
    served("PUT", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, b"PUT / hello"),
    served("GET", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, b"GET / hello"),
    served("DELETE", b"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, b"DELETE / hello"),
    served(
        "HEAD", b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, b"HEAD / hello", heads=[0]
    ),
    served("TE: trailers beside it", post(b"TE: trailers\r\nTransfer-Encoding: chunked\r\n"), b"POST / hello"),
    served("TE: chunked frames nothing", b"GET / HTTP/1.1\r\nHost: a\r\nTE: chunked\r\n\r\n", b"GET /"),
    served(
        "X-Transfer-Encoding frames nothing",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: chunked\r\n\r\n",
        b"GET /",
    ),
    refused(
        "Transfer_Encoding frames nothing, its body is garbage",
        post(b"Transfer_Encoding: chunked\r\n"),
        400,
        501,
        505,
        after=[b"POST /"],
    ),
    refused(
        "Content-Encoding: chunked frames nothing",
        post(b"Content-Encoding: chunked\r\n"),
        400,
        501,
        505,
        after=[b"POST /"],
    ),
]

LISTS = [
    either(
        "an empty element behind (RFC 9110 5.6.1.2)",
        post(b"Transfer-Encoding: chunked,\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b"", 400, 501),
    ),
    either(
        "an empty element before",
        post(b"Transfer-Encoding: ,chunked\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b"", 400, 501),
    ),
    either(
        "empty elements around",
        post(b"Transfer-Encoding: , chunked ,\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b"", 400, 501),
    ),
    either(
        "an empty line of it and another",
        post(b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
        served("", b"", b"POST / hello"),
        refused("", b"", 400, 501),
    ),
]

VALUES = [
    bad("identity", b" identity"),
    bad("gzip", b" gzip"),
    bad("deflate", b" deflate"),
    bad("compress", b" compress"),
    bad("br", b" br"),
    bad("trailers", b" trailers"),
    bad("cow", b" cow"),
    bad("gzip, chunked", b" gzip, chunked"),
    bad("deflate, chunked", b" deflate, chunked"),
    bad("identity, chunked", b" identity, chunked"),
    bad("cow, chunked", b" cow, chunked"),
    bad("chunked, gzip", b" chunked, gzip"),
    bad("chunked, identity", b" chunked, identity"),
    bad("chunked, cow", b" chunked, cow"),
    bad("chunked, chunked", b" chunked, chunked"),
    bad("chunked,chunked", b" chunked,chunked"),
    bad("gzip, chunked, chunked", b" gzip, chunked, chunked"),
    bad("xchunked", b" xchunked"),
    bad("chunkedx", b" chunkedx"),
    bad("chunk", b" chunk"),
    bad("chunked-", b" chunked-"),
    bad("-chunked", b" -chunked"),
    bad("chunked chunked", b" chunked chunked"),
    bad("chunked x", b" chunked x"),
    bad("chunked with a parameter", b" chunked;q=1"),
    bad("chunked and a semicolon", b" chunked;"),
    bad("chunked and a colon", b": chunked"),
    bad("in quotes", b' "chunked"'),
    bad("in apostrophes", b" 'chunked'"),
    bad("in brackets", b" [chunked]"),
    bad("empty", b""),
    bad("spaces", b"   "),
    bad("a comma", b" ,"),
    bad("a vertical tab before", b" \x0bchunked"),
    bad("a vertical tab behind", b" chunked\x0b"),
    bad("a form feed before", b"\x0cchunked"),
    bad("a NUL before", b" \x00chunked"),
    bad("a NUL inside", b" chu\x00nked"),
    bad("a NUL behind", b" chunked\x00"),
    bad("DEL behind", b" chunked\x7f"),
    bad("no-break spaces around", b" \xa0chunked\xa0"),
    bad("a next-line character before", b" \x85chunked"),
    bad("0xff behind", b" chunked\xff"),
    bad("a letter that lower-cases to k", " chun\u212aed".encode()),
    bad("letters that are not ASCII", " ｃhunked".encode()),
    bad("a fold", b"\r\n chunked"),
    bad("a fold with a tab", b"\r\n\tchunked"),
    bad("a bare LF before", b"\n chunked"),
    bad("a bare CR before", b"\rchunked"),
    bad("a bare CR behind", b" chunked\r"),
    bad("a long list", b" " + b"chunked, " * 100 + b"chunked"),
    refused("twice", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, 501),
    refused(
        "twice, in different case", post(b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n"), 400, 501
    ),
    refused("twice, the second unknown", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n"), 400, 501),
    refused("twice, the first unknown", post(b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"), 400, 501),
    refused(
        "twice, the second identity", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400, 501
    ),
    refused(
        "twice, the first identity", post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), 400, 501
    ),
    refused("twice, gzip and chunked", post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 400, 501),
    refused(
        "twice, apart", post(b"Transfer-Encoding: chunked\r\nX: y\r\nZ: w\r\nTransfer-Encoding: chunked\r\n"), 400, 501
    ),
    refused("an unknown coding on GET", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\n\r\n", 400, 501),
    refused("identity on GET", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400, 501),
    refused("empty on GET", b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400, 501),
]

NAMES = [
    refused("a space before the colon", post(b"Transfer-Encoding : chunked\r\n")),
    refused("a tab before the colon", post(b"Transfer-Encoding\t: chunked\r\n")),
    refused("a space before the name", post(b" Transfer-Encoding: chunked\r\n")),
    refused("a tab before the name", post(b"\tTransfer-Encoding: chunked\r\n")),
    refused("a vertical tab before the name", post(b"\x0bTransfer-Encoding: chunked\r\n")),
    refused("a vertical tab behind the name", post(b"Transfer-Encoding\x0b: chunked\r\n")),
    refused("a NUL behind the name", post(b"Transfer-Encoding\x00: chunked\r\n")),
    refused("a NUL inside the name", post(b"Transfer-\x00Encoding: chunked\r\n")),
    refused("a bare LF before the name", post(b"X: y\nTransfer-Encoding: chunked\r\n")),
    refused("a bare CR before the name", post(b"X: y\rTransfer-Encoding: chunked\r\n")),
    refused("a fold before the name", post(b"X: y\r\n Transfer-Encoding: chunked\r\n")),
    refused("a space inside the name", post(b"Transfer Encoding: chunked\r\n")),
    refused("quotes around the name", post(b'"Transfer-Encoding": chunked\r\n')),
    refused("an equals sign instead of the colon", post(b"Transfer-Encoding= chunked\r\n")),
]

VERSIONS = [
    refused("chunked in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, 400, 501),
    refused(
        "chunked in 1.0 with keep-alive",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
        501,
    ),
    refused("identity in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400, 501),
    refused("chunked in 1.0 on GET", b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 501),
    refused(
        "chunked named by Connection in 1.0",
        b"POST / HTTP/1.0\r\nConnection: keep-alive, transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        501,
    ),
]

CASES = GOOD + LISTS + VALUES + NAMES + VERSIONS


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transfer_encoding(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)
