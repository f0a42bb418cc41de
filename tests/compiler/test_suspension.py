import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastlane.compiler.suspension import can_suspend, nature_of


async def no_await() -> int:
    return 1


async def awaits() -> None:
    await asyncio.sleep(0)


async def async_for() -> None:
    async for _ in numbers():
        pass


async def async_with() -> None:
    async with asyncio.timeout(1):
        pass


async def comprehension() -> list[int]:
    return [number async for number in numbers()]


async def nested() -> Any:
    async def inner() -> None:
        await asyncio.sleep(0)

    return inner


async def awaits_in_a_branch(flag: bool = False) -> None:
    if flag:
        await nested()


async def numbers() -> AsyncIterator[int]:
    yield 1


def plain() -> None: ...


def generator() -> Iterator[int]:
    yield 1


class Class:
    async def method(self) -> int:
        return 1

    async def __call__(self) -> int:
        return 1


class Plain:
    def __call__(self) -> None: ...


def sync_wrapper(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def async_wrapper(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        return await function(*args)

    return wrapper


@pytest.mark.parametrize(
    ("function", "inline", "nature"),
    [
        (no_await, False, "coroutine"),
        (awaits, True, "coroutine"),
        (functools.partial(no_await), False, "coroutine"),
        (Class().method, False, "coroutine"),
        (Class(), False, "coroutine"),
        (sync_wrapper(no_await), False, "coroutine"),
        (sync_wrapper(numbers), False, "async generator"),
        (sync_wrapper(generator), False, "generator"),
        (numbers, False, "async generator"),
        (plain, False, "thread"),
        (plain, True, "inline"),
        (Plain(), False, "thread"),
        (functools.partial(plain), False, "thread"),
        (len, False, "thread"),
        (generator, False, "generator"),
        (generator, True, "inline generator"),
        (Class, False, "inline"),
    ],
)
def test_functions_are_called_by_what_they_are(function: Any, inline: bool, nature: str) -> None:
    assert nature_of(function, inline=inline) == nature


@pytest.mark.parametrize("function", [no_await, nested, functools.partial(no_await), Class().method, Class()])
def test_code_without_await_cannot_suspend(function: Any) -> None:
    assert not can_suspend(function, "coroutine")


@pytest.mark.parametrize(
    "function",
    [
        awaits,
        async_for,
        async_with,
        comprehension,
        awaits_in_a_branch,
        sync_wrapper(no_await),
        async_wrapper(no_await),
        functools.lru_cache(no_await),
    ],
)
def test_everything_else_may_suspend(function: Any) -> None:
    assert can_suspend(function, "coroutine")


def test_only_what_is_called_in_place_or_has_no_await_never_suspends() -> None:
    assert not can_suspend(plain, "inline")
    assert not can_suspend(generator, "inline generator")
    assert can_suspend(plain, "thread")
    assert can_suspend(generator, "generator")
    assert can_suspend(numbers, "async generator")
