"""Errors on the wire: RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from fastlane.errors import HTTPError, Internal
from fastlane.http.response import Response
from fastlane.redaction import redacted_octets

__all__ = ["problem_response"]

MEDIA_TYPE: Final = "application/problem+json"
_MAX_DEPTH: Final = 20

_log = logging.getLogger("fastlane.error")
_encode = msgspec.json.Encoder().encode


def problem_response(error: HTTPError) -> Response[bytes]:
    """The answer that an error stands for, with the error's own headers.

    Never raises, because an exception here would replace the answer that was meant: a value that JSON lacks is sent
    as its text, a lone surrogate escaped. Headers that can't be sent (a CR or LF in a value) are a fault of the
    application: it is logged, and the client gets a plain 500.
    """
    document = error.problem()
    try:
        body = _encode(document)
    except (TypeError, ValueError, RecursionError):
        body = _encode(_plain(document, _MAX_DEPTH))
    try:
        return Response(redacted_octets(body), status=error.status, headers=error.headers, media_type=MEDIA_TYPE)
    except ValueError:
        _log.exception("%s carries headers that can't be sent; a 500 is sent instead", type(error).__name__)
        return Response(_encode(Internal().problem()), status=500, media_type=MEDIA_TYPE)


def _plain(value: object, depth: int) -> object:
    if depth and isinstance(value, dict):
        return {_text(name): _plain(item, depth - 1) for name, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(value)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()
