"""Responses, read as strictly as RFC 9112 lets a client be: what a lenient client would forgive fails the test."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Answer", "Malformed", "read_answers"]

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[ \t]*"  # noqa: E501
)
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
DATE = re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d [A-Z][a-z]{2} \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT")


class Malformed(AssertionError):
    """The server sent what is no well-formed response."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response.

    Attributes:
        status: 100 to 599.
        headers: names in lower case, in order.
        body: decoded.
        framing: how the end was told: ``none`` (1xx, 204, 304, HEAD), ``length``, ``chunked`` or ``close``.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    framing: str

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key == name]

    @property
    def closes(self) -> bool:
        """It announces that the connection ends (RFC 9112 9.6)."""
        return any(
            token.strip().lower() == b"close" for value in self.values(b"connection") for token in value.split(b",")
        )


def read_answers(received: bytes, heads: frozenset[int], at_end: bool) -> tuple[list[Answer], bytes]:
    """Split what a connection received into whole responses and the rest.

    Args:
        received: every byte since the connection was opened.
        heads: which final responses (0 is the first) answer a HEAD request.
        at_end: the server closed, so that a body that the connection's end delimits is whole.

    Raises:
        Malformed: for anything that a strict client may not accept.
    """
    answers: list[Answer] = []
    finals = 0
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        if not separator:
            if len(head) >= 9 and not head.startswith(b"HTTP/1.1 "):
                raise Malformed(f"a response begins with {head[:60]!r}")
            break
        status, headers = read_head(head)
        answer, rest_or_none = read_body(status, headers, rest, finals in heads, at_end)
        if answer is None or rest_or_none is None:
            break
        answers.append(answer)
        received = rest_or_none
        finals += status >= 200
    return answers, received


def read_head(head: bytes) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    lines = head.split(b"\r\n")
    status_line = STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise Malformed(f"status line {lines[0]!r}")
    status = int(status_line[1])
    headers = []
    for line in lines[1:]:
        field = FIELD_LINE.fullmatch(line)
        if field is None:
            raise Malformed(f"field line {line!r}")
        headers.append((field[1].lower(), field[2] or b""))
    names = [name for name, _ in headers]
    for single in (b"content-length", b"transfer-encoding", b"date", b"connection", b"content-type"):
        if names.count(single) > 1:
            raise Malformed(f"{single.decode()} stands {names.count(single)} times")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise Malformed("content-length beside transfer-encoding (RFC 9112 6.2)")
    if (status < 200 or status == 204) and (b"content-length" in names or b"transfer-encoding" in names):
        raise Malformed(f"framing headers on {status} (RFC 9110 8.6, RFC 9112 6.1)")
    if 200 <= status < 500 and b"date" not in names:
        raise Malformed(f"no date on {status} (RFC 9110 6.6.1)")
    for name, value in headers:
        if name == b"date" and DATE.fullmatch(value) is None:
            raise Malformed(f"date {value!r} (RFC 9110 5.6.7)")
        if name == b"content-length" and re.fullmatch(rb"[0-9]{1,18}", value) is None:
            raise Malformed(f"content-length {value!r}")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise Malformed(f"transfer-encoding {value!r}")
    return status, tuple(headers)


def read_body(
    status: int, headers: tuple[tuple[bytes, bytes], ...], rest: bytes, head: bool, at_end: bool
) -> tuple[Answer | None, bytes | None]:
    fields = dict(headers)
    if head or status < 200 or status in (204, 304):
        return Answer(status, headers, b"", "none"), rest
    if b"transfer-encoding" in fields:
        body = bytearray()
        while True:
            line, separator, after = rest.partition(b"\r\n")
            if not separator:
                return None, None
            if CHUNK_SIZE.fullmatch(line) is None:
                raise Malformed(f"chunk size {line!r}")
            size = int(line, 16)
            if size == 0:
                if len(after) < 2:
                    return None, None
                if not after.startswith(b"\r\n"):
                    raise Malformed(f"after the last chunk {after[:40]!r}")
                return Answer(status, headers, bytes(body), "chunked"), after[2:]
            if len(after) < size + 2:
                return None, None
            if after[size : size + 2] != b"\r\n":
                raise Malformed(f"after a chunk {after[size : size + 40]!r}")
            body += after[:size]
            rest = after[size + 2 :]
    if b"content-length" in fields:
        length = int(fields[b"content-length"])
        if len(rest) < length:
            return None, None
        return Answer(status, headers, rest[:length], "length"), rest[length:]
    answer = Answer(status, headers, rest, "close")
    if not answer.closes:
        raise Malformed(f"{status} has no length and does not announce the connection's end")
    return (answer, b"") if at_end else (None, None)
