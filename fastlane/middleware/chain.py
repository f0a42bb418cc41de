"""Native middleware, ``async def m(request, call_next) -> Response``, folded around an endpoint once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from fastlane.endpoint import Endpoint
from fastlane.errors import CompileError
from fastlane.http.background import is_async
from fastlane.http.request import Request
from fastlane.http.response import Response

if TYPE_CHECKING:
    from fastlane.endpoint import Result
    from fastlane.middleware.failures import FailureHandlers

__all__ = ["CallNext", "Middleware", "check_middleware", "respond", "wrap_endpoint"]

CallNext: TypeAlias = Callable[[Request], Awaitable[Response[Any]]]
"""Answers what lies below, always with a Response: an exception down there has become one."""

Middleware: TypeAlias = Callable[[Request, CallNext], Awaitable[Response[Any]]]


def check_middleware(middleware: Middleware) -> None:
    """Refuse what is no native middleware.

    Raises:
        CompileError: a class (ASGI middleware), or a function that is no ``async def`` with two parameters.
    """
    name = getattr(middleware, "__qualname__", repr(middleware))
    code = getattr(middleware, "__code__", None)
    where = {"file": code.co_filename, "line": code.co_firstlineno} if code is not None else {}
    if isinstance(middleware, type):
        raise CompileError(
            f"{name} is a class",
            mend=f"write app.add_asgi_middleware({name}, …) if it is ASGI middleware, else give an instance",
        )
    if isinstance(middleware, str):
        raise CompileError(
            f"middleware({middleware!r}): there is one kind", mend="write @app.middleware, without an argument"
        )
    if not is_async(middleware):
        raise CompileError(
            f"middleware {name!r} is no async function", mend="write: async def m(request, call_next)", **where
        )
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError:
        raise CompileError(
            f"middleware {name!r} does not take (request, call_next)",
            mend="write: async def m(request, call_next)",
            **where,
        ) from None


def wrap_endpoint(endpoint: Endpoint, middleware: Sequence[Middleware], failures: FailureHandlers) -> Endpoint:
    """The endpoint inside all of ``middleware``, of which the first is the outermost.

    The wrapped ``call`` is a coroutine function, always answers a Response and raises no Exception.
    """
    if not middleware or endpoint.asgi is not None:
        return endpoint
    call_next = innermost(endpoint, failures)
    for layer in reversed(middleware):
        call_next = link(layer, call_next, failures)
    return Endpoint(
        call_next,
        suspends=True,
        body=endpoint.body,
        status=endpoint.status,
        headers=endpoint.headers,
        route=endpoint.route,
        source=endpoint.source,
    )


def respond(endpoint: Endpoint, result: Result) -> Response[Any]:
    """What a call answered, as a Response."""
    if isinstance(result, Response):
        return result
    response = Response(result, status=endpoint.status)
    response.raw_headers[:] = endpoint.headers
    return response


def innermost(endpoint: Endpoint, failures: FailureHandlers) -> CallNext:
    """The endpoint's own call, as a ``call_next``."""
    call: Callable[[Request], Any] = endpoint.call
    suspends = endpoint.suspends

    async def call_endpoint(request: Request) -> Response[Any]:
        try:
            result = await call(request) if suspends else call(request)
            return respond(endpoint, result)
        except Exception as error:
            return await settle(failures.answer(request, error))

    return call_endpoint


def link(middleware: Middleware, call_next: CallNext, failures: FailureHandlers) -> CallNext:
    """One middleware around what is below it."""

    async def call_middleware(request: Request) -> Response[Any]:
        try:
            response = await middleware(request, call_next)
            if not isinstance(response, Response):
                name = getattr(middleware, "__qualname__", repr(middleware))
                raise TypeError(f"middleware {name!r} must return a Response, got {type(response).__name__}")
            return response
        except Exception as error:
            return await settle(failures.answer(request, error))

    return call_middleware


async def settle(answer: Response[Any] | Awaitable[Response[Any]]) -> Response[Any]:
    """A Response, now or later."""
    return answer if isinstance(answer, Response) else await answer
