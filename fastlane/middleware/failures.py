"""What becomes of an exception: the app's own handlers first, then problem details, then a 500 that says nothing."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

from fastlane.errors import CompileError, HTTPError, Internal
from fastlane.http.problem import problem_response
from fastlane.http.request import Request
from fastlane.http.response import Response

__all__ = ["ExceptionHandler", "FailureHandlers", "unhandled_errors"]

ExceptionHandler: TypeAlias = Callable[[Request, Any], Response[Any] | Awaitable[Response[Any]]]
"""``handler(request, error)``, async or plain. A plain one runs on the event loop: it must not block."""

logger = logging.getLogger("fastlane.error")

unhandled_errors: ContextVar[list[Exception] | None] = ContextVar("unhandled_errors", default=None)
"""Where a test client wants the exceptions that nobody handled. They are logged and answered with a 500 as ever."""


class FailureHandlers:
    """The exception handlers of an app, by exception class or by the status of an ``HTTPError``.

    The status of an ``HTTPError`` beats its class, and a class nearer in the MRO beats one that is further away. What
    is no ``HTTPError`` is answered with a 500: a handler of 500 comes just before one of ``Exception``. The latter gets
    no ``HTTPError``: it is for what nobody expected, and would make a 500 of every 401.
    """

    __slots__ = ("by_class", "by_status")

    def __init__(self) -> None:
        self.by_class: dict[type[Exception], ExceptionHandler] = {}
        self.by_status: dict[int, ExceptionHandler] = {}

    def add(self, key: type[Exception] | int, handler: ExceptionHandler) -> None:
        """Register ``handler`` for a class and its subclasses, or for a status from 400 to 599.

        Raises:
            CompileError: another key, or one that has a handler.
        """
        name = getattr(handler, "__qualname__", repr(handler))
        known: ExceptionHandler | None
        if isinstance(key, type) and issubclass(key, Exception):
            known = self.by_class.setdefault(key, handler)
            text = key.__qualname__
        elif isinstance(key, int) and not isinstance(key, bool) and 400 <= key <= 599:
            known = self.by_status.setdefault(key, handler)
            text = str(key)
        else:
            raise CompileError(
                f"exception_handler({key!r}): this can't be handled",
                mend="give it a subclass of Exception, or a status from 400 to 599",
                handler=name,
            )
        if known is not handler:
            other = getattr(known, "__qualname__", repr(known))
            raise CompileError(f"{text} already has the handler {other!r}", mend="keep one of the two", handler=name)

    def find(self, error: Exception) -> ExceptionHandler | None:
        """The handler for this exception, or None."""
        if isinstance(error, HTTPError) and error.status in self.by_status:
            return self.by_status[error.status]
        for cls in type(error).__mro__:
            if cls is Exception:
                if isinstance(error, HTTPError):
                    return None
                if 500 in self.by_status:
                    return self.by_status[500]
            if cls in self.by_class:
                return self.by_class[cls]
        return None

    def answer(self, request: Request, error: Exception) -> Response[Any] | Awaitable[Response[Any]]:
        """The answer to the client. Never raises, and neither does what it returns."""
        handler = self.find(error)
        if handler is None:
            if not isinstance(error, HTTPError):
                return fault(request, error)
            if error.status == 500:
                log_fault(request, error)
            return problem_response(error)
        expected = isinstance(error, HTTPError) and error.status != 500
        if not expected and handler in (self.by_class.get(Exception), self.by_status.get(500)):
            # Whoever shapes every 500 would otherwise lose the traceback of what nobody expected.
            log_fault(request, error)
        try:
            answer = handler(request, error)
        except Exception as second:
            return self._answer_second(request, second)
        if inspect.isawaitable(answer):
            return self._settle(request, handler, answer)
        return checked(request, handler, answer)

    async def _settle(
        self, request: Request, handler: ExceptionHandler, answer: Awaitable[Response[Any]]
    ) -> Response[Any]:
        try:
            return checked(request, handler, await answer)
        except Exception as second:
            return self._answer_second(request, second)

    def _answer_second(self, request: Request, error: Exception) -> Response[Any]:
        """A handler that raises an HTTPError has translated the exception; anything else is a fault of the handler."""
        return problem_response(error) if isinstance(error, HTTPError) else fault(request, error)


def checked(request: Request, handler: ExceptionHandler, answer: object) -> Response[Any]:
    """The handler's answer, if it is one."""
    if isinstance(answer, Response):
        return answer
    name = getattr(handler, "__qualname__", repr(handler))
    return fault(request, TypeError(f"exception handler {name!r} must return a Response, got {type(answer).__name__}"))


def fault(request: Request, error: Exception) -> Response[Any]:
    """A 500 without a word of what happened, which stands in the log."""
    log_fault(request, error)
    unhandled = unhandled_errors.get()
    if unhandled is not None:
        unhandled.append(error)
    return problem_response(Internal())


def log_fault(request: Request, error: Exception) -> None:
    path = request.head.raw_path.decode("ascii", "backslashreplace")
    logger.error("%s %s failed; the client gets a 500", request.head.method, path, exc_info=error)
