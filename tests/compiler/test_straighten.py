import asyncio
import functools
import inspect
import traceback
import types
from typing import Any

import pytest

from fastlane.compiler import straighten
from fastlane.compiler.straighten import as_plain_function, drive

outside = 7


def closing_over(value: int) -> Any:
    async def handler(a: int, b: int = 2, /, *rest: int, c: int = 3, **others: int) -> Any:
        """Documented."""
        try:
            with memoryview(b"abc") as view:
                return [value, outside, a, b, rest, c, others, [n * value for n in range(a)], view[0]]
        finally:
            del view

    return handler


async def fails() -> None:
    raise KeyError("from the handler")


async def returns_none() -> None: ...


class Controller:
    n = 5

    async def method(self, x: int = 1) -> int:
        return self.n + x


def test_a_straightened_function_answers_what_awaiting_would() -> None:
    handler = closing_over(4)
    plain = as_plain_function(handler)

    assert not inspect.iscoroutinefunction(plain)
    assert plain(1, 9, 8, c=7, d=6) == drive(handler(1, 9, 8, c=7, d=6))
    assert plain(2) == drive(handler(2))
    assert as_plain_function(returns_none)() is None


def test_methods_are_straightened_with_their_object() -> None:
    assert as_plain_function(Controller().method)(3) == 8


def test_a_traceback_shows_the_handlers_own_line() -> None:
    with pytest.raises(KeyError) as caught:
        as_plain_function(fails)()

    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.name, last.line) == (__file__, "fails", 'raise KeyError("from the handler")')


def test_a_straightened_function_keeps_its_names_and_its_signature() -> None:
    plain = as_plain_function(fails)

    assert (plain.__name__, plain.__qualname__, plain.__module__) == ("fails", "fails", __name__)
    parameters = inspect.signature(as_plain_function(closing_over(1))).parameters.values()
    original = inspect.signature(closing_over(1)).parameters.values()
    assert [(each.name, each.kind, each.default) for each in parameters] == [
        (each.name, each.kind, each.default) for each in original
    ]


def test_what_is_no_plain_async_def_is_driven() -> None:
    partial = functools.partial(closing_over(1), 1)

    assert as_plain_function(partial)() == drive(partial())
    assert as_plain_function(Controller().method.__func__)(Controller()) == 6


def test_a_bound_method_of_something_else_is_driven() -> None:
    bound = types.MethodType(functools.partial(lambda self: returns_none()), Controller())

    assert as_plain_function(bound)() is None


def test_an_interpreter_that_fails_the_trial_drives_every_coroutine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straighten, "_WORKS", False)

    plain = as_plain_function(closing_over(4))
    assert plain(2) == drive(closing_over(4)(2))
    assert plain.__name__ == "handler"


def test_the_trial_passes_on_this_interpreter() -> None:
    assert straighten._trial()


@pytest.mark.parametrize(
    "fake",
    [
        lambda function: None,
        lambda function: lambda *args, **kwargs: (0, lambda: 2),
        lambda function: lambda *args, **kwargs: 1 / 0,
    ],
)
def test_the_trial_fails_where_straightening_gives_something_else(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    monkeypatch.setattr(straighten, "_straighten", fake)

    assert not straighten._trial()


def test_the_trial_fails_where_exceptions_get_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    real = straighten._straighten

    def quiet(function: Any) -> Any:
        inner = real(function)
        assert inner is not None

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return inner(*args, **kwargs)
            except BaseException:
                return None

        return call

    monkeypatch.setattr(straighten, "_straighten", quiet)
    assert not straighten._trial()

    def quiet_about_stop_iteration(function: Any) -> Any:
        return (lambda: None) if function.__name__ == "stops" else real(function)

    monkeypatch.setattr(straighten, "_straighten", quiet_about_stop_iteration)
    assert not straighten._trial()


def test_driving_what_suspends_is_an_error_that_says_so() -> None:
    async def suspends() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"suspends.*suspended, though its code has no await"):
        drive(suspends())
