"""A chunked body, byte for byte."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import BadRequest, HeadersTooLarge, HTTPError
from fastlane.server.chunked import ChunkedDecoder
from fastlane.server.limits import Limits


def decode(*pieces: bytes, limits: Limits | None = None) -> tuple[bytes, bool, bytes]:
    decoder = ChunkedDecoder(limits or Limits())
    body = b"".join(decoder.feed(piece) for piece in pieces)
    return body, decoder.done, decoder.rest


def test_chunks_are_joined_and_the_rest_is_kept():
    assert decode(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /") == (b"abcde", True, b"GET /")


def test_a_body_split_at_every_byte_is_the_same():
    raw = b'a;n="v\\"";x\r\n0123456789\r\n0A;q=1\r\n0123456789\r\n000;last\r\nX-Sum: 1\r\nY:\r\n\r\n'

    assert decode(*(raw[at : at + 1] for at in range(len(raw)))) == (b"01234567890123456789", True, b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"3\nabc\r\n",
        b"3\r\nabc\n",
        b"3\r\nabcd\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"-1\r\n\r\n",
        b"\r\n",
        b"g\r\n",
        b"3 ;a\r\nabc\r\n",
        b"3; a\r\nabc\r\n",
        b"3;a =b\r\nabc\r\n",
        b"3;\r\nabc\r\n",
        b"3;a=\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n0\r\n\r\n',
        b"3;a\rb\r\nabc\r\n",
        b"3;a\x00\r\nabc\r\n",
        b"1" * 17 + b"\r\n",
        b"f" * 16 + b"\r\n",
        b"0\r\nbad name: 1\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nx: \x00\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\nhost: a\r\n\r\n",
        b"0\r\nx: 1\n\r\n",
        b"3\r\nabc\rX",
        b"3\rX",
        b"\nX",
    ],
)
def test_what_is_not_the_grammar_is_a_400_however_it_is_split(raw):
    for pieces in ((raw,), tuple(raw[at : at + 1] for at in range(len(raw)))):
        with pytest.raises(BadRequest):
            decode(*pieces)


def test_extensions_are_bounded_on_one_chunk_and_on_all():
    with pytest.raises(BadRequest, match="too long"):
        decode(b"1;" + b"a" * 5000 + b"\r\nx\r\n")
    with pytest.raises(BadRequest, match="too long"):
        decode(b"1;" + b"a" * 5000)
    with pytest.raises(BadRequest, match="too long"):
        decode(b"1;a=b\r\nx\r\n" * 5000)
    assert decode(b"1\r\nx\r\n" * 5000) == (b"x" * 5000, False, b"")


def test_trailers_are_bounded():
    with pytest.raises(HeadersTooLarge):
        decode(b"0\r\n" + b"x: 1\r\n" * 2000)
    with pytest.raises(HeadersTooLarge):
        decode(b"0\r\nx: " + b"1" * 9000)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    rest=st.binary(max_size=10),
)
def test_what_was_encoded_is_decoded_across_any_split(chunks, cuts, rest):
    raw = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + rest
    ends = sorted({min(cut, len(raw) - len(rest)) for cut in cuts} | {len(raw)})
    pieces = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    decoder = ChunkedDecoder(Limits())
    body = b""
    left = b""
    for piece in pieces:
        if decoder.done:
            left += piece
        else:
            body += decoder.feed(piece)

    assert (body, decoder.done, decoder.rest + left) == (b"".join(chunks), True, rest)


class Listener:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


@given(st.text(alphabet='0123afF;="\\ \t\r\nx:-', max_size=30).map(lambda text: text.encode() + b"\r\n0\r\n\r\n"))
def test_llhttp_takes_whatever_is_taken_here_and_reads_the_same(raw):
    try:
        body, done, rest = decode(raw)
    except HTTPError:
        return
    listener = Listener()
    parser = httptools.HttpRequestParser(listener)
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

    parser.feed_data(head + (raw[: len(raw) - len(rest)] if rest else raw))

    assert (listener.body, listener.complete) == (body, done)
