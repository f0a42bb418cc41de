"""An ``async def`` that can't suspend, as a plain function.

Driving such a coroutine by hand (``send(None)`` until ``StopIteration``) costs 0.24 µs a request: hello takes 0.12 µs
without, 0.36 with it (3.11; 0.07 and 0.35 on 3.13). The code of a coroutine differs from that of a plain function in
its first two instructions alone, which make the coroutine object and return it: without them and without the flag it
runs at once and returns its value. It keeps its file, its lines and its name, so that tracebacks, debuggers and
coverage see the same function.

It is only done to code that has been found to hold no ``await`` (``suspension.can_suspend``), on CPython 3.11 to 3.13,
where a trial at import gives the right answers; elsewhere, and for every function that looks different, the coroutine
is driven.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["as_plain_function", "drive"]

_MAKES_COROUTINE = dis.opmap.get("RETURN_GENERATOR", -1)
_POP_TOP = dis.opmap["POP_TOP"]
_NOP = dis.opmap["NOP"]


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never suspends. ``RuntimeError`` if it does."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended, though its code has no await")


def as_plain_function(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """A function that takes the same arguments and returns what awaiting ``function(…)`` would give.

    Only for functions of which ``can_suspend`` is False.
    """
    if _WORKS:
        straight = _straighten(function)
        if straight is not None:
            return straight
    return functools.wraps(function)(lambda *args, **kwargs: drive(function(*args, **kwargs)))


def _straighten(function: Callable[..., Any]) -> Callable[..., Any] | None:
    if isinstance(function, types.MethodType):
        inner = _straighten(function.__func__)
        return types.MethodType(inner, function.__self__) if inner is not None else None
    if type(function) is not types.FunctionType:
        return None
    code = _straight_code(function.__code__)
    if code is None:
        return None
    straight = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    straight.__kwdefaults__ = function.__kwdefaults__
    straight.__qualname__ = function.__qualname__
    straight.__module__ = function.__module__
    return straight


def _straight_code(code: types.CodeType) -> types.CodeType | None:
    """The code without the two instructions; None where they are not found exactly once, side by side."""
    octets = bytearray(code.co_code)
    found = [at for at in range(0, len(octets), 2) if octets[at] == _MAKES_COROUTINE]
    if len(found) != 1 or octets[found[0] + 2] != _POP_TOP or not code.co_flags & inspect.CO_COROUTINE:
        return None
    octets[found[0] : found[0] + 4] = bytes((_NOP, 0, _NOP, 0))
    return code.replace(co_code=bytes(octets), co_flags=code.co_flags & ~inspect.CO_COROUTINE)


def _trial() -> bool:
    """Straightened functions return, raise, close over and nest as they should on this interpreter."""
    outer = 2

    async def returns(first: int, *, second: int = 3) -> Any:
        def inner() -> int:
            return first + outer

        total = 0
        for number in [each * second for each in (1, 2)]:
            try:
                total += number
                if number == first:
                    raise KeyError(number)
            finally:
                total += inner()
        return total, lambda: outer

    async def stops() -> None:
        raise StopIteration("from a handler")

    plain, stopping = _straighten(returns), _straighten(stops)
    if plain is None or stopping is None:
        return False
    try:
        if drive(returns(1))[0] != plain(1)[0] or plain(1, second=5)[1]() != outer:
            return False
        try:
            plain(3)
        except KeyError:
            pass
        else:
            return False
        try:
            stopping()
        except (StopIteration, RuntimeError):  # RuntimeError where the compiler wraps the body of a coroutine (3.12)
            return True
    except Exception:
        # An interpreter that this was not made for: coroutines are driven there, which is always right.
        return False
    return False


# A trial can't catch an interpreter that crashes, so a new one waits until the suite has run on it.
_WORKS = sys.version_info < (3, 14) and _trial()
