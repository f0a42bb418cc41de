"""Work after the answer."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

from fastlane.http.background import BackgroundTasks, describe, is_async


def test_calls_run_in_order_with_their_arguments():
    done: list[Any] = []

    async def first(*args: Any, **kwargs: Any) -> None:
        done.append((args, kwargs))

    def second(value: int) -> None:
        done.append((value, threading.current_thread() is threading.main_thread()))

    tasks = BackgroundTasks()
    tasks.add(first, 1, key=2)
    tasks.add(second, 3)
    assert len(tasks) == 2
    asyncio.run(tasks())

    assert done == [((1,), {"key": 2}), (3, False)]


def test_a_call_may_add_another():
    done: list[str] = []
    tasks = BackgroundTasks()

    async def first() -> None:
        tasks.add(second)

    async def second() -> None:
        done.append("second")

    tasks.add(first)
    asyncio.run(tasks())
    assert done == ["second"]


def test_a_failure_is_logged_and_the_others_go_on(caplog):
    done: list[int] = []

    def fails() -> None:
        raise LookupError("no mail server")

    tasks = BackgroundTasks()
    tasks.add(fails)
    tasks.add(done.append, 1)
    asyncio.run(tasks())

    assert done == [1]
    (record,) = caplog.records
    assert record.name == "fastlane.error"
    assert "test_a_failure_is_logged_and_the_others_go_on.<locals>.fails failed" in record.message
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def test_a_call_that_has_nothing_left_to_iterate_over_fails_like_any_other(caplog):
    done: list[int] = []

    def fails() -> None:
        next(iter([]))

    async def main() -> None:
        tasks = BackgroundTasks()
        tasks.add(fails)
        tasks.add(done.append, 1)
        await asyncio.wait_for(tasks(), 10)

    asyncio.run(main())
    assert done == [1]
    (record,) = caplog.records
    assert "failed" in record.message


def test_tasks_may_be_tasks_of_others():
    done: list[int] = []
    inner, outer = BackgroundTasks(), BackgroundTasks()
    inner.add(done.append, 1)
    outer.add(inner)
    asyncio.run(outer())

    assert done == [1]


class Callable:
    async def __call__(self) -> None:
        """Asynchronous."""

    async def method(self) -> None:
        """Asynchronous, too."""


def plain() -> None:
    """Not asynchronous."""


def test_what_is_asynchronous_is_known_through_its_wrappers():
    assert is_async(Callable())
    assert is_async(Callable().method)
    assert is_async(functools.partial(Callable().method))
    assert not is_async(plain)
    assert not is_async(print)
    assert not is_async(functools.partial(functools.partial(plain)))
    assert not is_async(dict)


def test_a_call_has_a_name_in_the_log():
    assert describe(plain) == "plain"
    assert describe(functools.partial(plain)).startswith("functools.partial")
