"""Rendering of responses to the bytes of HTTP/1.1 (RFC 9112 4 to 6)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastlane.errors import REASONS

__all__ = ["LENGTHS", "LENGTHS_COUNT", "STATUS_LINES", "header_block", "is_unframed"]

STATUS_LINES: dict[int, bytes] = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, "").encode("ascii")) for status in range(100, 600)
}

LENGTHS_COUNT = 4096
# PERF: the end of a head whose last field is content-length. A look-up and two concatenations take 80 ns, "%b%d%b" 120.
LENGTHS: list[bytes] = [b"%d\r\n\r\n" % length for length in range(LENGTHS_COUNT)]

_INVALID_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_INVALID_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def is_unframed(status: int) -> bool:
    """Whether a response of this status ends with its head, without a word about a length (RFC 9112 6.3).

    205 is not among them: it has no body, but must say so (``fastlane.http.response.is_bodiless``).
    """
    return status < 200 or status in (204, 304)


def header_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Field lines with lower-case names.

    Raises:
        ValueError: a name or a value could split the response (RFC 9110 5.5).
    """
    lines = []
    for name, value in headers:
        if _INVALID_NAME.search(name) or not name:
            raise ValueError("a response header has an invalid name")
        if _INVALID_VALUE.search(value):
            raise ValueError(f"the response header {name.decode('ascii')!r} has an invalid value")
        lines.append(b"%b: %b\r\n" % (name.lower(), value))
    return b"".join(lines)
