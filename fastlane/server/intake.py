"""Bytes in, heads and bodies out: where one message ends and the next begins, and nothing else."""

from __future__ import annotations

from typing import Any

import httptools

from fastlane.errors import HeadersTooLarge, URITooLong
from fastlane.server.chunked import ChunkedDecoder
from fastlane.server.head import LaneHead, read_head, refusal_of
from fastlane.server.limits import Limits

__all__ = ["Intake"]


class Intake:
    """The reading side of one connection.

    Bytes collect in ``buffer``. ``take_head`` validates them with llhttp as they come and cuts off a whole head;
    ``begin_body`` and ``take_body`` cut off the body behind it; what is left belongs to the next message. llhttp never
    sees a body: it has no way to say where a chunked one ends, none to limit chunk extensions, and it skips a body
    behind an Upgrade, which is how a request is smuggled in one.

    Attributes:
        buffer: what has arrived and is not taken yet.
        is_partial: a head has begun, and its end has not arrived.
        unread: bytes of the current body that have not arrived, as far as its head tells (0 for a chunked one).
    """

    __slots__ = ("_chunks", "_fed", "_head_complete", "_host", "_limits", "_parser", "buffer", "is_partial", "unread")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser: Any = None
        self._host: bytes | None = None
        self._fed = 0
        self._head_complete = False
        self._chunks: ChunkedDecoder | None = None
        self.buffer = b""
        self.is_partial = False
        self.unread = 0

    def on_headers_complete(self) -> None:
        """llhttp's callback: it has read the empty line."""
        self._head_complete = True

    def take_head(self, remembered: LaneHead | None = None) -> LaneHead | None:
        """The next head, or None while it is not whole.

        Args:
            remembered: the last head of this connection; when the bytes begin with the same head, it is the answer.

        Raises:
            HTTPError: the bytes are no HTTP, or over a limit. What follows them can't be trusted.
        """
        buffer = self.buffer
        if not self._fed:
            if remembered is not None and buffer.startswith(remembered.raw):
                self.buffer = buffer[remembered.size :]
                return remembered
            while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line in front of a request is ignored
                buffer = self.buffer = buffer[2:]
            if buffer in (b"", b"\r"):
                self.is_partial = bool(buffer)
                return None
            if buffer[0] in b"\r\n":  # llhttp lets a bare one pass here
                raise refusal_of(buffer)
        end = buffer.find(b"\r\n\r\n", max(self._fed - 3, 0))
        size = end + 4 if end >= 0 else len(buffer)
        upgraded = self._validate(buffer, size)
        if self._head_complete != (end >= 0):
            # llhttp sees the end of the head elsewhere than we do: then nobody knows where the next request begins.
            raise refusal_of(buffer)
        if end < 0:
            self._check_partial_head(buffer)
            self._fed = size
            self.is_partial = True
            return None
        self._fed = 0
        self._head_complete = self.is_partial = False
        # A slice of everything is the same object: no bytes are copied for the usual request.
        head = read_head(buffer[:size], self._limits, self._host)
        self.buffer = buffer[size:]
        self._host = head.host
        if upgraded or head.content_length or not head.plain:
            # It may wait for a body that it will not be given, or think the connection over (it takes Proxy-Connection
            # for Connection). A new parser costs 0.2 µs.
            self._parser = None
        return head

    def asks_for_head(self) -> bool:
        """Whether the message at the beginning of the buffer is a HEAD request, however broken the rest of it is."""
        return self.buffer.startswith(b"HEAD ")

    def _validate(self, buffer: bytes, size: int) -> bool:
        """Feed llhttp what it has not seen, up to ``size``; true when it takes the rest for another protocol."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(buffer[self._fed : size])
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError:
            raise refusal_of(buffer) from None
        return False

    def _check_partial_head(self, buffer: bytes) -> None:
        """Refuse early what can't become a head any more: a client of HTTP/0.9, for one, will send no more."""
        limits = self._limits
        line_end = buffer.find(b"\r\n", 0, limits.request_line + 2)
        if line_end < 0 and len(buffer) > limits.request_line + 1:
            raise URITooLong(f"the request line is longer than {limits.request_line} bytes")
        if line_end >= 0 and not buffer[:line_end].endswith((b" HTTP/1.1", b" HTTP/1.0")):
            raise refusal_of(buffer)
        if len(buffer) > limits.head_size:
            raise HeadersTooLarge(f"the request head is longer than {limits.head_size} bytes")

    def begin_body(self, head: LaneHead) -> bool:
        """Get ready to take the body of ``head``; false when it has none."""
        self._chunks = ChunkedDecoder(self._limits) if head.chunked else None
        self.unread = 0 if head.chunked else head.content_length
        return head.chunked or head.content_length > 0

    def take_body(self) -> tuple[bytes, bool]:
        """The body bytes that are in the buffer, and whether they are the last of the message.

        Raises:
            HTTPError: broken chunks, or more framing than the limits allow.
        """
        buffer = self.buffer
        chunks = self._chunks
        if chunks is not None:
            piece = chunks.feed(buffer)
            self.buffer = chunks.rest
            return piece, chunks.done
        if len(buffer) <= self.unread:
            piece = buffer
            self.buffer = b""
        else:
            piece = buffer[: self.unread]
            self.buffer = buffer[self.unread :]
        self.unread -= len(piece)
        return piece, not self.unread

    def close(self) -> None:
        """Let go of the bytes, and of the parser, which holds on to us."""
        self._parser = None
        self._chunks = None
        self.buffer = b""
