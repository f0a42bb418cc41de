"""The bounds that the protocol keeps, each with a safe default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may ask of a worker. Sizes are bytes, times are seconds; None is unlimited.

    The keep-alive time is uvicorn's own ``timeout_keep_alive``.

    Attributes:
        request_line: method, target and version; over it 414 (RFC 9110 15.5.15).
        head_size: request line and headers together; over it 431 (RFC 6585 5).
        header_count: header fields; over it 431.
        body_size: for routes that bring no limit of their own, such as a foreign ASGI app; over it 413.
        chunk_extension: bytes of extensions on one chunk; over it 400.
        chunk_overhead: bytes of extensions on all chunks of one body; over it 400.
        trailer_size: bytes of trailer fields; over it 431.
        header_timeout: from a request's first byte (or the connection) to the end of its head; over it 408.
        body_timeout: between two pieces of a body that is waited for; over it 408.
        write_timeout: without progress of a peer that does not read; over it the connection is aborted.
        linger: bytes of an unread body that are read and dropped to keep a connection.
        linger_timeout: how long a connection that is to close is still read, so that the peer gets its answer
            instead of a reset (RFC 9112 9.6).
    """

    request_line: int = 8192
    head_size: int = 32768
    header_count: int = 100
    body_size: int | None = None
    chunk_extension: int = 4096
    chunk_overhead: int = 16384
    trailer_size: int = 8192
    header_timeout: float = 15.0
    body_timeout: float = 30.0
    write_timeout: float = 60.0
    linger: int = 65536
    linger_timeout: float = 2.0
