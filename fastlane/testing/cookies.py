"""The cookies that a test client keeps between its requests."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fastlane.http.cookies import parse_cookies

__all__ = ["CookieJar"]


class CookieJar(dict[str, str]):
    """Name → value. Domain and path of a cookie are not looked at: there is one host, and tests name what they mean."""

    def store(self, lines: list[str]) -> None:
        """Take over what ``Set-Cookie`` lines set, and drop what they expire."""
        for line in lines:
            pair, _, attributes = line.partition(";")
            for name, value in parse_cookies([pair.encode("latin-1")]).items():
                if is_expired(attributes):
                    self.pop(name, None)
                else:
                    self[name] = value


def is_expired(attributes: str) -> bool:
    """``Max-Age`` counts before ``Expires`` (RFC 6265 5.3)."""
    values = {}
    for attribute in attributes.split(";"):
        name, _, value = attribute.partition("=")
        values[name.strip().lower()] = value.strip()
    if "max-age" in values:
        return int(values["max-age"]) <= 0
    if "expires" in values:
        return parsedate_to_datetime(values["expires"]) <= datetime.now(UTC)
    return False
