"""The cookies that a test client keeps between its requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from fastlane.http.cookies import parse_cookies

__all__ = ["CookieJar"]


@dataclass(slots=True)
class Cookie:
    """One cookie. ``domain`` is None for one of a test, which goes to every host; ``expires`` None never does."""

    name: str
    value: str
    domain: str | None = None
    subdomains: bool = False
    path: str = "/"
    expires: datetime | None = None

    def is_replaced_by(self, other: Cookie) -> bool:
        """They have a place in common: the same one, or every one (RFC 6265 5.3)."""
        if self.name != other.name:
            return False
        return self.domain is None or (self.domain, self.path) == (other.domain, other.path)

    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)

    def is_for(self, host: str, path: str) -> bool:
        """A request to this host and path sends it (RFC 6265 5.4)."""
        if self.domain is not None and host != self.domain and not (self.subdomains and is_below(host, self.domain)):
            return False
        return path == self.path or path.startswith(self.path if self.path.endswith("/") else f"{self.path}/")


class CookieJar(MutableMapping[str, str]):
    """Name → value of what has not expired; of two cookies with one name, the later one.

    Domain, path and expiry decide what a request sends, as in a browser (RFC 6265 5). ``Secure`` does not: a test's
    connection is as good as TLS. What a test puts in goes to every host and path.
    """

    __slots__ = ("_cookies",)

    def __init__(self, cookies: Mapping[str, str] | None = None) -> None:
        self._cookies: list[Cookie] = []
        self.update(cookies or {})

    def store(self, lines: list[str], host: str | None = None, path: str = "/") -> None:
        """Take over what the ``Set-Cookie`` lines of an answer from this host and path set and expire.

        ``host`` None takes the cookies of every domain, for every one.
        """
        for line in lines:
            cookie = parse_set_cookie(line, host, path)
            if cookie is not None:
                self._cookies = [old for old in self._cookies if not old.is_replaced_by(cookie)]
                if not cookie.is_expired():
                    self._cookies.append(cookie)

    def sent_to(self, host: str, path: str) -> list[tuple[str, str]]:
        """Names and values for a request, those with the longest path first (RFC 6265 5.4)."""
        fitting = [cookie for cookie in self._fresh() if cookie.is_for(host, path)]
        fitting.sort(key=lambda cookie: -len(cookie.path))
        return [(cookie.name, cookie.value) for cookie in fitting]

    def _fresh(self) -> list[Cookie]:
        return [cookie for cookie in self._cookies if not cookie.is_expired()]

    def __getitem__(self, name: str) -> str:
        for cookie in reversed(self._fresh()):
            if cookie.name == name:
                return cookie.value
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        self._cookies = [cookie for cookie in self._cookies if cookie.name != name]
        self._cookies.append(Cookie(name, value))

    def __delitem__(self, name: str) -> None:
        self[name]  # KeyError
        self._cookies = [cookie for cookie in self._cookies if cookie.name != name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(cookie.name for cookie in self._fresh()))

    def __len__(self) -> int:
        return len({cookie.name for cookie in self._fresh()})

    def __repr__(self) -> str:
        return f"CookieJar({dict(self)!r})"


def parse_set_cookie(line: str, host: str | None, path: str) -> Cookie | None:
    """The cookie of a ``Set-Cookie`` line; None for one that a browser would refuse (RFC 6265 5.2, 5.3)."""
    pair, _, rest = line.partition(";")
    pairs = list(parse_cookies([pair.encode("latin-1")]).items())
    if not pairs:
        return None
    cookie = Cookie(*pairs[0], domain=host, path=path[: path.rfind("/")] or "/")
    attributes = {}
    for attribute in rest.split(";"):
        name, _, value = attribute.partition("=")
        attributes[name.strip().lower()] = value.strip()
    if attributes.get("path", "").startswith("/"):
        cookie.path = attributes["path"]
    domain = attributes.get("domain", "").removeprefix(".").lower()
    if domain and host is not None:
        if host != domain and not is_below(host, domain):
            return None
        cookie.domain, cookie.subdomains = domain, True
    # Max-Age counts before Expires.
    age = attributes.get("max-age", "")
    if age.removeprefix("-").isdigit():
        cookie.expires = datetime.now(UTC) + timedelta(seconds=min(int(age), 10**9))
    elif "expires" in attributes:
        try:
            expires = parsedate_to_datetime(attributes["expires"])
        except ValueError:
            return cookie  # an attribute that can't be read is left out
        cookie.expires = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
    return cookie


def is_below(host: str, domain: str) -> bool:
    """The host is a subdomain."""
    return host.endswith(f".{domain}")
