"""Dependencies with a ``yield``: opened before the handler, closed in reverse order once the answer is encoded.

The rules are ``contextlib``'s with one difference: a generator that swallows an exception does not end it, because then
there would be nothing to answer with.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, TypeVar

__all__ = [
    "close_all",
    "close_async",
    "close_generator",
    "open_async",
    "open_generator",
    "throw_all",
    "throw_async",
    "throw_generator",
]

T = TypeVar("T")


def open_generator(generator: Generator[T, Any, Any]) -> T:
    """The yielded value. ``RuntimeError`` where there is none."""
    for value in generator:
        return value
    raise RuntimeError(f"the dependency {_name(generator)} did not yield")


def close_generator(generator: Generator[Any, Any, Any]) -> None:
    """Runs what stands after the ``yield``. Raises what that raises."""
    for _ in generator:
        generator.close()
        raise RuntimeError(f"the dependency {_name(generator)} yielded more than once")


def throw_generator(generator: Generator[Any, Any, Any], error: BaseException) -> None:
    """Raises ``error`` at the ``yield``, and whatever comes of it; returns where it was swallowed."""
    try:
        generator.throw(error)
    except StopIteration:
        return
    generator.close()
    raise RuntimeError(f"the dependency {_name(generator)} yielded more than once") from error


def close_all(generators: Sequence[Generator[Any, Any, Any]]) -> None:
    """Closes the last one first. What one raises is thrown into those that were opened before it."""
    for position in range(len(generators) - 1, -1, -1):
        try:
            close_generator(generators[position])
        except BaseException as error:
            throw_all(generators[:position], error)
            raise


def throw_all(generators: Sequence[Generator[Any, Any, Any]], error: BaseException) -> None:
    """Throws into the last one first; what one makes of it goes into the next."""
    current = error
    for generator in reversed(generators):
        try:
            throw_generator(generator, current)
        except BaseException as raised:
            current = raised
    if current is not error:
        raise current


async def open_async(generator: AsyncGenerator[T, Any]) -> T:
    """As ``open_generator``."""
    async for value in generator:
        return value
    raise RuntimeError(f"the dependency {_name(generator)} did not yield")


async def close_async(generator: AsyncGenerator[Any, Any]) -> None:
    """As ``close_generator``."""
    async for _ in generator:
        await generator.aclose()
        raise RuntimeError(f"the dependency {_name(generator)} yielded more than once")


async def throw_async(generator: AsyncGenerator[Any, Any], error: BaseException) -> None:
    """As ``throw_generator``."""
    try:
        await generator.athrow(error)
    except StopAsyncIteration:
        return
    await generator.aclose()
    raise RuntimeError(f"the dependency {_name(generator)} yielded more than once") from error


def _name(generator: object) -> str:
    return str(getattr(generator, "__qualname__", generator))
