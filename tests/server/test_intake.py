"""Where messages end, whatever way the bytes arrive."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlane.errors import HTTPError
from fastlane.server.intake import Intake
from fastlane.server.limits import Limits

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
UPGRADE = b"POST /d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nGET /"
EMPTY_LINE = b"\r\n"


def messages(pieces, limits: Limits | None = None) -> list[tuple[bytes, bytes]]:
    """Route key and body of each request in the bytes."""
    intake = Intake(limits or Limits())
    found = []
    head = None
    body = b""
    for piece in pieces:
        intake.buffer += piece
        while intake.buffer:
            if head is None:
                head = intake.take_head()
                if head is None:
                    break
                body = b""
                if not intake.begin_body(head):
                    found.append((head.route_key, b""))
                    head = None
                    continue
            part, last = intake.take_body()
            body += part
            if last:
                found.append((head.route_key, body))
                head = None
    return found


def test_messages_are_cut_where_they_end():
    assert messages([GET + POST + CHUNKED + UPGRADE + GET]) == [
        (b"GET /a", b""),
        (b"POST /b", b"hello"),
        (b"PUT /c", b"abc"),
        (b"POST /d", b"GET /"),
        (b"GET /a", b""),
    ]


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED, UPGRADE, EMPTY_LINE + GET]), min_size=1, max_size=5),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_the_same_messages_are_found_across_every_split(requests, cuts):
    raw = b"".join(requests)
    ends = sorted({min(cut, len(raw)) for cut in cuts} | {len(raw)})

    split = messages(raw[start:end] for start, end in zip([0, *ends], ends, strict=False))

    assert split == messages([raw])
    assert len(split) == len(requests)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 40000, 431),
    ],
)
def test_bytes_that_are_no_request_are_refused(raw, status):
    with pytest.raises(HTTPError) as raised:
        messages([raw])

    assert raised.value.status == status


def test_a_remembered_head_is_taken_without_reading_it_again():
    intake = Intake(Limits())
    intake.buffer = GET
    head = intake.take_head()
    intake.buffer = GET + GET

    assert intake.take_head(head) is head
    assert intake.buffer == GET


def test_a_carriage_return_alone_is_a_beginning():
    intake = Intake(Limits())
    intake.buffer = b"\r"
    assert intake.take_head() is None
    assert intake.is_partial
    intake.buffer += b"\n" + GET

    assert intake.take_head() is not None
