"""Cookies: reading ``Cookie`` and writing ``Set-Cookie`` (RFC 6265, with SameSite and Partitioned of its revisions)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypedDict, Unpack

__all__ = ["CookieAttributes", "SameSite", "expired_cookie", "parse_cookies", "render_cookie"]

SameSite = Literal["lax", "strict", "none"]


class CookieAttributes(TypedDict, total=False):
    """What may be said of a cookie beside its name and value. ``render_cookie`` has the meanings and defaults."""

    max_age: int | None
    expires: datetime | int | str | None
    path: str | None
    domain: str | None
    secure: bool
    httponly: bool
    samesite: SameSite | None
    partitioned: bool


_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
# RFC 6265 4.1.1: cookie-octet, that is no control, blank, quote, comma, semicolon or backslash.
_OCTETS = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*").fullmatch
_CONTROL = re.compile(r"[\x00-\x1f\x7f]").search
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*").fullmatch  # RFC 6265 4.1.1: any CHAR except controls and ";"
_TO_ESCAPE = re.compile(r"[^\x20-\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]")
_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)
# RFC 9110 5.6.7, in English whatever the locale. email.utils has it too, and costs 5 ms to import.
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_cookies(values: list[bytes]) -> dict[str, str]:
    """The cookies of all ``Cookie`` lines, in linear time.

    The first of a repeated name wins: a browser sends the cookie with the longer path first (RFC 6265 5.4). A pair
        without a name
    or without ``=`` is left out, because servers disagree about it and ``__Host-`` prefixes have been forged with it.
    Never raises: a cookie that other software on the domain has set must not break the request. UTF-8 where it is,
    else latin-1.
    """
    cookies: dict[str, str] = {}
    for line in values:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        for pair in text.split(";"):
            name, equals, value = pair.partition("=")
            name = name.strip(" \t")
            if equals and name and name not in cookies:
                cookies[name] = _unquote(value.strip(" \t"))
    return cookies


def render_cookie(
    name: str,
    value: str = "",
    *,
    max_age: int | None = None,
    expires: datetime | int | str | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> bytes:
    """The value of a ``Set-Cookie`` line.

    A value with blanks, commas, quotes and the like is quoted as ``http.cookies`` does it, and ``parse_cookies``
    undoes that.

    Args:
        max_age: seconds; 0 or less deletes the cookie.
        expires: a moment (naive ones are UTC), seconds from now, or the rendered date.
        path, domain: None leaves the attribute out.
        samesite: None leaves the attribute out.
        partitioned: keeps the cookie apart for each top-level site (CHIPS); needs ``secure``.

    Raises:
        ValueError: what a browser would refuse: a name that is no token, control characters, letters outside latin-1,
            ``;`` in an attribute, ``SameSite=None`` or ``Partitioned`` without ``secure``, broken rules of
            ``__Host-`` and ``__Secure-``.
    """
    if _NAME(name) is None:
        raise ValueError(f"cookie name {name!r} is not a token (RFC 6265 4.1.1)")
    parts = [f"{name}={_quote(name, value)}"]
    if expires is not None:
        parts.append(f"expires={_date(name, expires)}")
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    for attribute, text in (("Domain", domain), ("Path", path)):
        if text is not None:
            parts.append(f"{attribute}={_checked(name, text)}")
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if samesite is not None:
        if samesite not in ("lax", "strict", "none"):
            raise ValueError(f"cookie {name!r}: samesite must be 'lax', 'strict', 'none' or None, got {samesite!r}")
        parts.append(f"SameSite={samesite}")
    if partitioned:
        parts.append("Partitioned")
    if not secure:
        needs = {"SameSite=none": samesite == "none", "Partitioned": partitioned, "its prefix": _has_prefix(name)}
        for reason, needed in needs.items():
            if needed:
                raise ValueError(f"cookie {name!r}: {reason} needs secure=True")
    if name.lower().startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"cookie {name!r}: its prefix needs path='/' and no domain")
    return "; ".join(parts).encode("latin-1")


def expired_cookie(name: str, **attributes: Unpack[CookieAttributes]) -> bytes:
    """The value of a ``Set-Cookie`` line that deletes the cookie of that name, path and domain."""
    attributes["max_age"] = 0
    attributes["expires"] = _EPOCH
    return render_cookie(name, **attributes)


def _has_prefix(name: str) -> bool:
    return name.lower().startswith(("__host-", "__secure-"))


def _checked(name: str, text: str) -> str:
    if _ATTRIBUTE(text) is None:
        raise ValueError(f"cookie {name!r}: the attribute {text!r} holds ';', a control character or no ASCII")
    return text


def _date(name: str, expires: datetime | int | str) -> str:
    if isinstance(expires, str):
        return _checked(name, expires)
    if isinstance(expires, datetime):
        moment = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
    else:
        moment = datetime.now(UTC) + timedelta(seconds=expires)
    moment = moment.astimezone(UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


def _quote(name: str, value: str) -> str:
    if _OCTETS(value) is not None:
        return value
    if _CONTROL(value) is not None:
        raise ValueError(f"cookie {name!r}: the value holds a control character")
    if not value.isascii():
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(
                f"cookie {name!r}: the value holds letters outside latin-1; percent-encode it, or use base64"
            ) from None
    return '"' + _TO_ESCAPE.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return f"\\{character}" if character in '"\\' else f"\\{ord(character):03o}"


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(_unescape, value[1:-1])


def _unescape(match: re.Match[str]) -> str:
    octal: str | None = match[1]
    return chr(int(octal, 8)) if octal is not None else match[2]
