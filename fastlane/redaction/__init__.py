"""Values that nothing may show: secrets, passwords of databases, keys of providers.

Guaranteed is everything the framework writes, and every ``logging`` handler. What a user prints himself is his.
"""

from __future__ import annotations

from fastlane.redaction.table import SHORTEST, redactor

__all__ = ["SHORTEST", "hide", "hide_password", "is_active", "redacted", "redacted_octets", "unhide"]


def hide(name: str, value: str) -> bool:
    """Write ``***name***`` wherever ``value`` would stand, raw, quoted for a URL, in base64 or escaped.

    Returns:
        False where the value is shorter than `SHORTEST` characters: then it can't be told from innocent text.
    """
    from fastlane.redaction.doors import (
        guard_doors,  # a process that hides nothing needs neither it nor what it imports
    )

    guard_doors()
    return redactor.hide(name, value)


def unhide(name: str, value: str) -> None:
    """Undo one `hide`."""
    redactor.unhide(name, value)


def hide_password(name: str, url: str) -> None:
    """Hide the password inside a URL, such as ``postgresql://user:password@host/name``, and nothing else of it.

    A password that also stands elsewhere in the URL (``postgres:postgres@``) keeps nobody out, and hiding it would hide
    that name everywhere: it is hidden between colon and ``@`` alone.
    """
    from urllib.parse import parse_qs, unquote, urlsplit

    for parameter in ("password", "sslpassword"):
        for value in parse_qs(urlsplit(url).query).get(parameter, ()):
            hide(name, value)
    authority = url.partition("://")[2].partition("/")[0]
    userinfo, at, _ = authority.rpartition("@")
    password = userinfo.partition(":")[2]
    if not at or not password:
        return
    if unquote(password) in url.replace(f":{password}@", ":@", 1):
        hide(name, f":{password}@")
        return
    for spelling in {password, unquote(password)}:
        hide(name, spelling)


def redacted(text: str) -> str:
    """``text`` with every hidden value replaced."""
    return redactor.text(text)


def redacted_octets(data: bytes) -> bytes:
    """The same for encoded text."""
    return redactor.octets(data)


def is_active() -> bool:
    """Whether anything is hidden: what is written often asks first."""
    return redactor.is_active
