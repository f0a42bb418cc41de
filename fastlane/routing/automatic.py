"""Endpoints that nobody wrote: 404, 405, OPTIONS, and paths that can't be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fastlane.compiler.endpoint import Endpoint
from fastlane.errors import BadRequest, HTTPError, MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from fastlane.http.request import Request

__all__ = ["allow_header", "bad_request", "method_not_allowed", "not_found", "options", "refusing"]


def refusing(make_error: Callable[[], HTTPError]) -> Endpoint:
    """An endpoint that raises a new error each time (one shared instance would collect tracebacks)."""

    def refuse(request: Request) -> bytes:
        raise make_error()

    return Endpoint(refuse, suspends=False, needs_request=False)


def not_found() -> Endpoint:
    return refusing(lambda: NotFound("there is nothing at this path"))


def bad_request(detail: str) -> Endpoint:
    return refusing(lambda: BadRequest(detail))


def method_not_allowed(allow: str) -> Endpoint:
    """405 with ``Allow`` (RFC 9110 15.5.6)."""
    return refusing(lambda: MethodNotAllowed(f"allowed here: {allow}", headers={"allow": allow}))


def options(allow: str) -> Endpoint:
    """204 with ``Allow`` (RFC 9110 9.3.7)."""

    def answer(request: Request) -> bytes:
        return b""

    return Endpoint(
        answer, suspends=False, needs_request=False, status=204, headers=((b"allow", allow.encode("ascii")),)
    )


def allow_header(methods: Iterable[str]) -> str:
    """The methods with what is answered automatically: ``OPTIONS``, always."""
    return ", ".join(sorted({*methods, "OPTIONS"}))
