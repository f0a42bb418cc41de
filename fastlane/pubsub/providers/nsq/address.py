"""Where an nsqd is, and how connections to it are protected."""

from __future__ import annotations

import ssl

import msgspec

__all__ = ["Address", "Security"]


class Address(msgspec.Struct, frozen=True, order=True):
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, what: str) -> Address:
        """Of ``host:port``, ``[v6]:port``.

        Raises:
            ValueError: it is neither. ``what`` is named.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{what} = {text!r} is no address\n    mend: write host:port, such as 127.0.0.1:4150")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Security(msgspec.Struct, frozen=True):
    """How connections are protected. ``auth`` is a secret: it is in no text."""

    tls: ssl.SSLContext | None = None
    auth: str | None = None

    def __repr__(self) -> str:
        return f"Security(tls={self.tls is not None}, auth={self.auth is not None})"
