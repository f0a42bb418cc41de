"""Decoding of a chunked body (RFC 9112 7.1), piece by piece, strictly, with every byte accounted for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastlane.errors import BadRequest, HeadersTooLarge
from fastlane.server.head import INVALID

if TYPE_CHECKING:
    from fastlane.server.limits import Limits

__all__ = ["ChunkedDecoder"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*\""
# The "bad whitespace" that RFC 9112 7.1.1 would have us tolerate around ";" and "=" is refused, as llhttp does: nobody
# sends it but those who look for two servers that read it differently.
_EXTENSION = rb";" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)")
_TRAILER = re.compile(rb"(" + _TOKEN + rb"):[\t \x21-\x7e\x80-\xff]*")

# A trailer that frames, routes or authenticates is an attack or a mistake (RFC 9110 6.5.1); others are dropped.
_FORBIDDEN_TRAILERS = frozenset(
    b"authorization connection content-encoding content-length content-range content-type cookie expect host te trailer"
    b" transfer-encoding upgrade".split()
)
_SIZE_DIGITS = 16

_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class ChunkedDecoder:
    """Feed it raw bytes; it answers the body bytes in them and tells when the message has ended.

    ``feed`` raises ``BadRequest`` for anything but the grammar, and for more extension bytes than the limits allow:
    llhttp has no callback for extensions, and a million chunks of one byte with an extension each cost a server far
    more than they cost the client.
    """

    __slots__ = ("_buffer", "_extension_bytes", "_limits", "_remaining", "_state", "_trailer_bytes", "done", "rest")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""
        self._state = _SIZE
        self._remaining = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self.done = False
        self.rest = b""  # what stood behind the end of the message

    def feed(self, data: bytes) -> bytes:
        """The body bytes that ``data`` completes. After the last ``done`` is true, and ``rest`` holds what follows."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at = 0
        end = len(data)
        while True:
            if self._state == _DATA:
                piece = data[at : at + self._remaining]
                pieces.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    break
                self._state = _DATA_END
            if self._state == _DATA_END:
                if end - at < 2:
                    if data[at:] not in (b"", b"\r"):
                        raise BadRequest(INVALID)
                    self._buffer = data[at:]
                    break
                if data[at : at + 2] != b"\r\n":
                    raise BadRequest(INVALID)
                at += 2
                self._state = _SIZE
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                self._keep(data[at:])
                break
            line = data[at:line_end]
            at = line_end + 2
            if self._state == _SIZE:
                self._read_size(line)
            elif line:
                self._read_trailer(line)
            else:
                self.done = True
                self.rest = data[at:]
                break
        # PERF: one chunk in one read is the usual case, and needs no join.
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep(self, line: bytes) -> None:
        """Hold the beginning of a line, which may be long but not wrong already: a bare LF or CR never ends well."""
        if b"\n" in line or b"\r" in line[:-1]:
            raise BadRequest(INVALID)
        if self._state == _SIZE:
            if len(line) > _SIZE_DIGITS + self._limits.chunk_extension:
                raise BadRequest("a chunk extension is too long")
            if line and not line[:1].isalnum():
                raise BadRequest(INVALID)
        elif self._trailer_bytes + len(line) > self._limits.trailer_size:
            raise HeadersTooLarge(f"the trailer fields are longer than {self._limits.trailer_size} bytes")
        self._buffer = line

    def _read_size(self, line: bytes) -> None:
        # Bound the line before the regular expression sees it.
        if len(line) > _SIZE_DIGITS + self._limits.chunk_extension:
            raise BadRequest("a chunk extension is too long")
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BadRequest(INVALID)
        size = match[1]
        self._extension_bytes += len(line) - len(size)
        if self._extension_bytes > self._limits.chunk_overhead:
            raise BadRequest("the chunk extensions are too long")
        self._remaining = int(size, 16)
        if self._remaining >= 1 << 60:
            raise BadRequest(INVALID)
        self._state = _DATA if self._remaining else _TRAILERS

    def _read_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > self._limits.trailer_size:
            raise HeadersTooLarge(f"the trailer fields are longer than {self._limits.trailer_size} bytes")
        match = _TRAILER.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
            raise BadRequest(INVALID)
