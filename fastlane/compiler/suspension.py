"""How a function is called, and whether it can suspend (REQUESTS 5): read from its code, once."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Nature", "can_suspend", "nature_of"]

Nature: TypeAlias = Literal["coroutine", "thread", "inline", "generator", "inline generator", "async generator"]
"""``thread`` and ``generator`` run in a worker thread; ``inline`` ones promise not to block."""

_SUSPENDING: Final = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND", "YIELD_VALUE"})


def nature_of(function: Callable[..., Any], *, inline: bool) -> Nature:
    """How ``function`` is to be called.

    A wrapper that is no ``async def`` but wraps one (``functools.wraps``) answers what the inner function answers. A
    class is called where it stands: building an object is not blocking work.
    """
    if isinstance(function, type):
        return "inline"
    called = _called(function)
    for candidate in (called, inspect.unwrap(called)):
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
    if inspect.isgeneratorfunction(called) or inspect.isgeneratorfunction(inspect.unwrap(called)):
        return "inline generator" if inline else "generator"
    return "inline" if inline else "thread"


def can_suspend(function: Callable[..., Any], nature: Nature) -> bool:
    """False only where it is certain that calling it never gives control to the event loop.

    The certain cases: a plain function that is called in place, and an ``async def`` of the user's own whose code has
    no ``await``, ``async for`` or ``async with``. What is decorated is judged by the wrapper's own code, and a wrapper
    that can't be read suspends.
    """
    if nature in ("inline", "inline generator"):
        return False
    if nature != "coroutine":
        return True
    called = _called(function)
    code = getattr(called, "__code__", None)
    if not isinstance(code, types.CodeType) or not code.co_flags & inspect.CO_COROUTINE:
        return True
    # Nested functions have code objects of their own: they suspend this one only where it awaits them.
    return any(instruction.opname in _SUSPENDING for instruction in dis.get_instructions(code))


def _called(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.ismethod(function):
        return function.__func__
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    call = inspect.getattr_static(type(function), "__call__", function)
    return call if inspect.isfunction(call) else function
