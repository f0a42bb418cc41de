"""The URL of a request, kept in parts."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["URL"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class URL:
    """Scheme, authority, path and query of a request.

    The path is never read back out of a text that begins with the client's Host header, which is how a crafted Host
    once walked past path checks (CVE-2026-48710).

    Attributes:
        scheme: ``http`` or ``https``.
        netloc: host and port, as the Host header has them.
        path: decoded, ``root_path`` included.
        query: as it was sent, without the question mark.
    """

    __slots__ = ("netloc", "path", "query", "scheme")

    def __init__(self, scheme: str, netloc: str, path: str, query: str) -> None:
        self.scheme = scheme
        self.netloc = netloc
        self.path = path
        self.query = query

    @property
    def hostname(self) -> str:
        """The host without its port, in lower case; brackets of an IPv6 address are dropped."""
        host = self.netloc.lower()
        if host.startswith("["):
            return host[1 : host.find("]")]
        return host.partition(":")[0]

    @property
    def port(self) -> int | None:
        """The port, if it is named or the scheme has a usual one."""
        text = self.netloc.rpartition("]")[2].partition(":")[2]
        return int(text) if text.isascii() and text.isdigit() else _DEFAULT_PORTS.get(self.scheme)

    def __str__(self) -> str:
        path = quote(self.path, safe="/!$&'()*+,;=:@~")
        return f"{self.scheme}://{self.netloc}{path}{'?' + self.query if self.query else ''}"

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, URL | str) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))
