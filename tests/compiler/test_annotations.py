"""Hints are resolved at import, with the caller's locals; what can't be resolved is told apart from what is wrong."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NewType, TypeVar

import attrs
import pytest
from msgspec import Meta, Struct

from fastlane.compiler import RouteSpec, UnresolvedName, read_handler
from fastlane.compiler.annotations import describe, read_signature, take_apart
from fastlane.errors import CompileError
from fastlane.params import Depends, Header, Path, Query, State
from tests.compiler.requests import answer, compiled, errors

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
UserId = NewType("UserId", int)
Bounds = Meta(ge=1)


class Page(Struct, Generic[T]):
    items: list[T]
    total: int = 0


class Forward(Struct):
    later: Later  # noqa: F821 - defined while a test runs


async def uses_a_later_name(x: Annotated[Later, Query()]) -> None: ...  # noqa: F821


async def uses_a_later_field(x: Forward) -> None: ...


def test_a_name_that_does_not_exist_yet_is_unresolved_and_read_again_later() -> None:
    for handler, method in ((uses_a_later_name, "GET"), (uses_a_later_field, "POST")):
        with pytest.raises(UnresolvedName, match="Later") as caught:
            read_handler(RouteSpec("/", handler, methods=(method,)))
        assert caught.value.parameter == "x"
        assert isinstance(caught.value, CompileError)

    globals()["Later"] = int
    try:
        assert answer(compiled(uses_a_later_name), query="x=1") == b""
        assert answer(compiled(uses_a_later_field, methods="POST"), body=b'{"later":1}') == b""
    finally:
        del globals()["Later"]


def test_an_import_under_type_checking_is_unresolved_with_a_mend() -> None:
    async def handler(x: Decimal) -> None: ...

    with pytest.raises(UnresolvedName) as caught:
        read_handler(RouteSpec("/", handler))
    assert "outside `if TYPE_CHECKING:`" in caught.value.mend


def test_the_return_annotation_counts_too() -> None:
    async def handler() -> Decimal: ...

    with pytest.raises(UnresolvedName) as caught:
        read_handler(RouteSpec("/", handler))
    assert caught.value.parameter is None


def test_the_callers_locals_resolve_local_names() -> None:
    class Local(Struct):
        n: int

    async def handler(post: Local) -> int:
        return post.n

    assert answer(compiled(handler, methods="POST", localns=locals()), body=b'{"n":3}') == b"3"


def test_a_name_means_what_it_means_where_the_function_was_written() -> None:
    class Forward(Struct):
        other: int

    async def nested(it: Forward) -> int:
        return it.other

    endpoint = compiled(nested, methods="POST", localns=locals())
    assert answer(endpoint, body=b'{"other":1}') == b"1"

    class Filter(Struct):
        other: int

    endpoint = compiled(takes_the_modules_filter, localns=locals())
    assert answer(endpoint, query="p=3") == b"3"

    def dependency(it: Filter) -> int:
        return it.other

    async def handler(n: Annotated[int, Depends(dependency, inline=True)]) -> int:
        return n

    assert answer(compiled(handler, localns=locals()), query="other=4") == b"4"
    as_of_a_module = {**globals(), "Filter": Filter}
    assert answer(compiled(takes_the_modules_filter, localns=as_of_a_module), query="p=3") == b"3"


async def takes_the_modules_filter(it: Filter) -> int:
    return it.page


def test_an_annotation_that_raises_is_an_error_at_once() -> None:
    async def handler(x: 1 / 0) -> None: ...  # type: ignore[valid-type]

    with pytest.raises(CompileError, match="can't be evaluated: division by zero") as caught:
        read_handler(RouteSpec("/", handler))
    assert not isinstance(caught.value, UnresolvedName)


def test_what_has_no_signature_is_refused() -> None:
    with pytest.raises(CompileError, match="signature can't be read"):
        read_handler(RouteSpec("/", min))


def test_wrappers_partials_methods_and_objects_are_read_through() -> None:
    def wrap(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return [await function(*args, **kwargs)]

        return wrapper

    async def plain(x: int, y: int = 2) -> list[int]:
        return [x, y]

    class Controller:
        async def method(self, x: int) -> int:
            return x

        async def __call__(self, x: int) -> int:
            return -x

    assert answer(compiled(wrap(plain)), query="x=1") == b"[[1,2]]"
    assert answer(compiled(functools.partial(plain, y=5)), query="x=1") == b"[1,5]"
    assert answer(compiled(Controller().method), query="x=1") == b"1"
    assert answer(compiled(Controller()), query="x=1") == b"-1"


class Filter(Struct):
    page: Annotated[int, Query("p")] = 1


@attrs.define
class AttrsFilter:
    page: Annotated[int, Query("q")] = 1


def test_structures_as_dependencies_resolve_names_of_their_own_module() -> None:
    async def handler(
        one: Annotated[Filter, Depends(Filter)], two: Annotated[AttrsFilter, Depends(AttrsFilter)]
    ) -> list[int]:
        return [one.page, two.page]

    assert answer(compiled(handler), query="p=3&q=4") == b"[3,4]"


def test_a_place_names_file_line_and_handler() -> None:
    def handler() -> None: ...

    place = read_signature(handler, {}).place
    assert place.file == __file__
    assert place.line == handler.__code__.co_firstlineno
    assert place.handler == "test_a_place_names_file_line_and_handler.<locals>.handler"


def test_annotated_new_types_and_type_variables_are_looked_through() -> None:
    marker = Header("x")
    parts = take_apart(Annotated[Annotated[UserId, Bounds], marker, "note"])

    assert (parts.type, parts.markers, parts.metas) == (int, (marker,), (Bounds,))
    assert take_apart(parts.full).metas == (Bounds,)
    assert take_apart(T).type is Any
    assert take_apart(Bounded).type is int


def test_marker_classes_count_as_markers() -> None:
    assert isinstance(take_apart(Annotated[int, Path]).markers[0], Path)
    assert isinstance(take_apart(Annotated[int, State]).markers[0], State)


def test_a_marker_inside_the_one_arm_of_an_optional_counts_for_the_whole() -> None:
    parts = take_apart(Annotated[int, Query("q"), Bounds] | None)

    assert [marker.name for marker in parts.markers if isinstance(marker, Query)] == ["q"]
    assert parts.metas == ()

    async def handler(x: Annotated[int, Query("q"), Bounds] | None = None) -> int | None:
        return x

    assert answer(compiled(handler), query="q=1") == b"1"
    assert errors(compiled(handler), query="q=0") == [("query", "q", "Expected `int` >= 1")]


def test_generic_structs_are_bodies() -> None:
    async def handler(page: Page[int]) -> int:
        return sum(page.items)

    endpoint = compiled(handler, methods="POST")
    assert answer(endpoint, body=b'{"items":[1,2]}') == b"3"
    assert len(errors(endpoint, body=b'{"items":["x"]}')) == 1


def test_a_generic_query_structure_has_its_arguments() -> None:
    async def handler(page: Page[int]) -> int:
        return sum(page.items)

    assert answer(compiled(handler), query="items=1&items=2") == b"3"


def test_descriptions_are_what_an_author_would_write() -> None:
    assert describe(int) == "int"
    assert describe(list[int]) == "list[int]"
    assert describe(Annotated[int, "x"]) == "Annotated[int, 'x']"
    assert describe(Page[int] | None) == "Page[int] | None"
    assert describe(dict[str, list[Page[Any]]]) == "dict[str, list[Page[Any]]]"
    assert describe(tuple[int, ...]) == "tuple[int, ...]"
    assert describe(Literal["a", 1]) == "Literal['a', 1]"
    assert describe(UserId) == "UserId"
    assert describe(T) == "T"
    assert describe(Callable[[int], str]) == "Callable"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 is Python 3.12's")
def test_type_statements_and_type_parameters_are_looked_through() -> None:
    namespace: dict[str, Any] = {"Annotated": Annotated, "Meta": Meta, "Struct": Struct, "Query": Query}
    source = """
type Count = Annotated[int, Meta(ge=1)]
type Many[T] = list[T]
class Box[T](Struct):
    content: T
async def handler(box: Box[Count], n: Count, many: Annotated[Many[int], Query()]) -> list:
    return [box.content, n, many]
async def generic[T: int](n: T) -> T:
    return n
"""
    exec(source, namespace)
    endpoint = compiled(namespace["handler"], methods="POST")
    assert answer(endpoint, body=b'{"content":3}', query="n=2&many=1") == b"[3,2,[1]]"
    assert ("query", "n", "Expected `int` >= 1") in errors(endpoint, body=b'{"content":0}', query="n=0&many=1")
    assert answer(compiled(namespace["generic"]), query="n=2") == b"2"
