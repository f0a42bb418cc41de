"""Work that is done after the answer has been sent."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import ParamSpec

__all__ = ["BackgroundTasks"]

P = ParamSpec("P")

_log = logging.getLogger("fastlane.error")


class BackgroundTasks:
    """Calls that run in order, in this process, once the client has its answer.

    A call that fails is logged with its traceback on ``fastlane.error``, and the rest still run. Nothing is kept over
    a crash or retried: what must not get lost belongs in a topic.

    Example:
        >>> async def sign_up(new: NewUser, tasks: BackgroundTasks) -> User:
        ...     tasks.add(send_mail, new.email, subject="Welcome")
    """

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]] = []

    def __len__(self) -> int:
        return len(self.calls)

    def add(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """``function(*args, **kwargs)``, later. A plain ``def`` runs in a worker thread, so that it may block."""
        self.calls.append((function, args, kwargs))

    async def __call__(self) -> None:
        """Runs what was added, also what a call adds meanwhile. Raises nothing but a cancellation."""
        calls = self.calls
        position = 0
        while position < len(calls):
            function, args, kwargs = calls[position]
            position += 1
            try:
                if is_async(function):
                    await function(*args, **kwargs)  # type: ignore[misc]
                else:
                    await asyncio.to_thread(_call, function, args, kwargs)
            except Exception:
                _log.exception("background task %s failed; the others go on", describe(function))


def _call(function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    """In a thread. A future refuses StopIteration, and whoever waits for that future would wait for ever."""
    try:
        function(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration: a next() had nothing left") from error


def is_async(function: Callable[..., object]) -> bool:
    """An ``async def``, a partial of one, or an object whose ``__call__`` is one."""
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    if inspect.isfunction(function) or inspect.ismethod(function):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)


def describe(function: Callable[..., object]) -> str:
    """A name for the log."""
    return getattr(function, "__qualname__", None) or repr(function)
