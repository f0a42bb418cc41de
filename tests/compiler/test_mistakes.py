"""Everything that is wrong with a handler is said at once."""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Struct

from fastlane import App, Depends, Header, WebSocket
from fastlane.compiler import RouteSpec, UnresolvedName, read_handler
from fastlane.errors import CompileError
from fastlane.routing.collecting import collect_compile_errors


class Plain: ...


def refusal(handler, path="/", names=(), **spec):
    with pytest.raises(CompileError) as caught:
        read_handler(RouteSpec(path, handler, names, **spec))
    return caught.value


def bad_dependency(a: Plain, b=3): ...


async def everything_wrong(
    b,
    c: Plain,
    e: Annotated[int, Depends(bad_dependency)],
    d: str = Header(),  # type: ignore[assignment]
    *args: int,
) -> Plain: ...


def test_every_bad_parameter_dependency_and_the_return_type_are_named():
    error = refusal(everything_wrong, "/{id}", ("id",), status=204)
    assert [(mistake.handler, mistake.parameter) for mistake in error.each] == [
        ("everything_wrong", "b"),
        ("everything_wrong", "args"),
        ("everything_wrong", "c"),
        ("bad_dependency", "b"),
        ("bad_dependency", "a"),
        ("everything_wrong", "d"),
        ("everything_wrong", None),
    ]
    assert all(mistake.file == __file__ and mistake.line and mistake.mend for mistake in error.each)
    assert str(error).splitlines() == [line for mistake in error.each for line in str(mistake).splitlines()]
    assert error.parameter == "b"


def test_a_single_mistake_is_itself():
    async def handler(c: Plain) -> None: ...

    error = refusal(handler)
    assert error.each == (error,)


def test_a_mistake_of_a_dependency_is_said_once():
    async def handler(
        a: Annotated[int, Depends(bad_dependency)], b: Annotated[int, Depends(bad_dependency)]
    ) -> None: ...

    assert len(refusal(handler, dependencies=(Depends(bad_dependency),)).each) == 2


def test_a_variable_is_not_missed_while_a_parameter_that_may_take_it_can_not_be_read():
    async def handler(identity) -> None: ...

    assert len(refusal(handler, "/{id}", ("id",)).each) == 1


def test_names_that_may_still_be_defined_are_not_told_of_beside_others():
    async def handler(a: Later, b: Plain, c: Sooner) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    error = refusal(handler)
    assert [mistake.parameter for mistake in error.each] == ["b"]


def test_all_names_that_do_not_exist_are_told_of_when_there_is_nothing_else():
    async def handler(a: Later, c: Sooner) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    error = refusal(handler)
    assert isinstance(error, UnresolvedName)
    assert [mistake.parameter for mistake in error.each] == ["a", "c"]


def test_whoever_collects_gets_them_one_by_one_and_each_once():
    with collect_compile_errors() as errors:
        app = App()

        @app.get("/first")
        async def first(a: Annotated[int, Depends(bad_dependency)], b: Plain) -> None: ...

        @app.get("/second")
        async def second(a: Annotated[int, Depends(bad_dependency)]) -> None: ...

    assert [error.parameter for error in errors] == ["b", "a", "b"]


def test_an_app_lists_what_never_came_to_exist():
    app = App()

    @app.get("/")
    async def show(a: Later, b: Sooner) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    @app.websocket("/")
    async def talk(websocket: WebSocket, a: Later, b: Sooner) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    found = [(error.handler.rpartition(".")[2], error.parameter) for error in app.compile_errors()]
    assert found == [("show", "a"), ("show", "b"), ("talk", "a"), ("talk", "b")]


def test_a_field_that_names_nothing_is_found_beside_the_others():
    class Broken(Struct):
        later: Later  # type: ignore[name-defined]  # noqa: F821

    async def handler(a: Plain, body: Broken) -> None: ...

    assert [mistake.parameter for mistake in refusal(handler, methods=("POST",)).each] == ["a"]
