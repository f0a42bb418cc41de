"""Path segments on the wire: split raw, decode once, encode back (REQUESTS 2, "path")."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from fastlane.errors import BadRequest

__all__ = ["encode_segment", "encode_tail", "split_path"]

PERCENT: Final = ord("%")
NUL: Final = 0
HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")

# RFC 3986 3.3 pchar without the sub-delimiters that some parsers treat specially inside a segment (";" and "=").
SAFE_IN_SEGMENT = "!$&'()*+,:@"


def split_path(raw_path: bytes) -> list[str]:
    """The segments of a path as text, each percent-decoded once; the first one is what stands before the first ``/``.

    ``//`` gives an empty segment, ``.`` and ``..`` stay as they are, and ``%2F`` is a slash inside one segment.

    Raises:
        BadRequest: a ``%`` without two hex digits, bytes that are no UTF-8, or NUL.
    """
    # PERF: paths are almost always plain ASCII without escapes: 0.15 µs instead of 2.2 µs for three segments. Asking
    # bytes for an int takes 8 ns, for bytes 140 ns.
    if PERCENT not in raw_path and NUL not in raw_path and raw_path.isascii():
        return raw_path.decode("ascii").split("/")
    return [decode_segment(segment) for segment in raw_path.split(b"/")]


def decode_segment(segment: bytes) -> str:
    """One segment, percent-decoded once and read as strict UTF-8. Raises BadRequest."""
    first, *escaped = segment.split(b"%")
    pieces = [first]
    for piece in escaped:
        digits = piece[:2]
        if len(digits) < 2 or not HEX_DIGITS.issuperset(digits):
            raise BadRequest("the path has a '%' that is not followed by two hex digits")
        pieces.append(bytes((int(digits, 16),)))
        pieces.append(piece[2:])
    decoded = b"".join(pieces)
    if b"\0" in decoded:
        raise BadRequest("the path contains a NUL character")
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not valid UTF-8") from None


def encode_segment(text: str) -> str:
    """Text as one segment: everything that could end it, ``/`` included, is percent-encoded."""
    return quote(text, safe=SAFE_IN_SEGMENT)


def encode_tail(text: str) -> str:
    """Text as the rest of a path: its slashes stand for themselves."""
    return quote(text, safe=SAFE_IN_SEGMENT + "/")
