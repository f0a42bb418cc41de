"""Endpoints that are not compiled from a handler: 404, 405, OPTIONS, paths that can't be read, ASGI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from fastlane.endpoint import Endpoint
from fastlane.errors import BadRequest, HTTPError, MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from fastlane.http.request import Request
    from fastlane.http.stream import Receive, Scope, Send

__all__ = ["allow_header", "asgi_endpoint", "bad_request", "method_not_allowed", "not_found", "options", "refusing"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


def refusing(make_error: Callable[[], HTTPError]) -> Endpoint:
    """An endpoint that raises a new error each time (one shared instance would collect tracebacks)."""

    def refuse(request: Request) -> bytes:
        raise make_error()

    return Endpoint(refuse, suspends=False, needs_request=False)


def asgi_endpoint(application: ASGIApplication, route: object) -> Endpoint:
    """A route that is a plain ASGI application. Its ``call`` is never used."""

    def unreachable(request: Request) -> bytes:
        raise AssertionError("an ASGI endpoint has no call")

    return Endpoint(unreachable, suspends=False, asgi=application, route=route)


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
