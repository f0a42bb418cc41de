"""What a connection is doing.

IDLE ──► HEAD ──► BODY ──► BUSY ──► IDLE     a compiled route: buffered body in, bytes out
             └──► STREAM ──► BUSY ──► IDLE   a plain ASGI application, which reads while the body arrives
                      └──► DROP ──► IDLE     answered before its body was there: the rest is read and dropped
any ──► LINGER ──► CLOSED                    closing, but still reading, so that the answer arrives
"""

from __future__ import annotations

__all__ = ["BODY", "BUSY", "CLOSED", "DROP", "HEAD", "IDLE", "LINGER", "STREAM"]

# Plain numbers: a connection looks at its phase several times a request, and an enum's member costs 30 ns each time.
IDLE, HEAD, BODY, STREAM, BUSY, DROP, LINGER, CLOSED = range(8)
