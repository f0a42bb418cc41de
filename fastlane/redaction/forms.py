"""How a secret looks when it has been through a URL, an encoder or a repr."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

__all__ = ["forms_of"]

_LINE = 16
"""Characters of one line of a value of several lines (a private key): a shorter line may stand anywhere."""

_CORE = 8
"""Characters of base64 that are enough to recognise: four would be three bytes."""

_SUB_DELIMITERS = "!$&'()*+,;=:@/?-._~"


def forms_of(value: str) -> list[str]:
    """Every text that gives ``value`` away, the longest first.

    Raw, percent-encoded as the usual functions do it, base64 at each of the three places it may have among other bytes,
    escaped as JSON, ``repr``, HTML and the log formatters do it. The lines of a value of several lines count alone.
    """
    found = set(_written(value))
    if "\n" in value or "\r" in value:
        for line in value.splitlines():
            line = line.strip()
            if len(line) >= _LINE and not line.startswith("-----"):
                found |= set(_written(line))
    return sorted(found, key=lambda form: (-len(form), form))


def _written(value: str) -> Iterator[str]:
    data = value.encode("utf-8", "surrogatepass")
    yield value
    for quoted in (quote_plus(data), *(quote(data, safe=safe) for safe in ("", "/", _SUB_DELIMITERS))):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    yield from _base64_cores(data)
    escaped = json.dumps(value)[1:-1]
    yield escaped
    yield escaped.replace("/", "\\/")
    plain = json.dumps(value, ensure_ascii=False)[1:-1]
    yield plain
    # A body of JSON in a line of a log of JSON. What was escaped to ASCII has only quotes and backslashes to escape.
    yield json.dumps(escaped)[1:-1]
    yield json.dumps(plain)[1:-1]
    yield json.dumps(plain, ensure_ascii=False)[1:-1]
    for spelled in (repr(value), repr(data)[1:]):
        yield spelled[1:-1]
    yield value.encode("unicode_escape").decode("ascii")
    yield value.encode("unicode_escape").decode("ascii").replace('"', "\\x22")
    yield html.escape(value)
    yield html.escape(value, quote=False)


def _base64_cores(data: bytes) -> Iterator[str]:
    """What of the base64 of any bytes with ``data`` in them depends on ``data`` alone."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode("ascii").rstrip("=") if len(data) % 3 == 0 else encode(data).decode("ascii")
        for offset in range(3):
            # Of the first and the last group, the characters that neighbours share bits with are left out.
            coded = encode(bytes(offset) + data).decode("ascii").rstrip("=")
            start = (0, 2, 3)[offset]
            end = len(coded) if (offset + len(data)) % 3 == 0 else len(coded) - 1
            if end - start >= _CORE:
                yield coded[start:end]
