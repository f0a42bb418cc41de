"""People come from somewhere: what they write there is answered with what to write here (REQUESTS 6)."""

import datetime
from types import ModuleType
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from fastlane.compiler import RouteSpec, read_handler
from fastlane.compiler.mends import foreign_option
from fastlane.errors import CompileError
from fastlane.http.response import Response
from fastlane.params import Body, Cookie, Depends, Header, Query, State


def mend(handler: Any, parameter: str | None = "x") -> str:
    with pytest.raises(CompileError) as caught:
        read_handler(RouteSpec("/", handler))
    assert caught.value.parameter == parameter
    return caught.value.mend


def a_function() -> int:
    return 1


@pytest.mark.parametrize(
    ("default", "written"),
    [
        (Header(), "Header()"),
        (Query("q"), "Query('q')"),
        (Cookie, "Cookie()"),
        (State(), "State()"),
        (Depends(a_function), "Depends(a_function)"),
    ],
)
def test_a_marker_as_default_value(default: Any, written: str) -> None:
    async def handler(x: int = default) -> None: ...

    assert mend(handler) == f"write `x: Annotated[int, {written}]`"


def test_a_depends_in_annotated_beside_a_marker_default() -> None:
    async def handler(x: Annotated[int, Depends(a_function)] = Depends(a_function)) -> None: ...  # type: ignore[assignment]

    assert "Annotated[int, Depends(a_function)]" in mend(handler)


def foreign(package: str, name: str, **attributes: Any) -> Any:
    return type(name, (), {"__module__": f"{package}.params", **attributes})


def test_markers_of_other_frameworks() -> None:
    class_ = foreign("fastapi", "Query")

    async def as_default(x: int = class_()) -> None: ...

    async def annotated(x: Annotated[int, class_()]) -> None: ...

    async def depends(x: Annotated[int, foreign("fastapi", "Depends")()]) -> None: ...

    assert "`x: Annotated[int, Query()]`" in mend(as_default)
    assert "import it from fastlane: `Annotated[int, Query()]`" in mend(annotated)
    assert "Depends(…)" in mend(depends)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Request", "from fastlane import Request"),
        ("Response", "return a `fastlane.Response`"),
        ("UploadFile", "fastlane's own type"),
    ],
)
def test_types_of_other_frameworks(name: str, said: str) -> None:
    async def handler(x: foreign("starlette", name)) -> None: ...  # type: ignore[valid-type]

    assert said in mend(handler)


def test_a_pydantic_model() -> None:
    model = foreign("pydantic", "BaseModel")
    user = type("User", (model,), {"__module__": "app"})

    async def handler(x: Annotated[user, Body()]) -> None: ...  # type: ignore[valid-type]

    assert mend(handler) == "write `class User(msgspec.Struct):`"


def test_a_response_as_parameter() -> None:
    async def handler(x: Response[Any]) -> None: ...

    assert mend(handler) == "return it instead of taking it as a parameter"


def test_depends_without_a_function() -> None:
    async def handler(x: Annotated[int, Depends]) -> None: ...

    assert mend(handler) == "write `Annotated[int, Depends(function)]`"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Query(ge=1), "Annotated[int, Meta(ge=…), Query()]"),
        (lambda: Header(alias="x"), 'Header("name")'),
        (lambda: Query(default=1), "behind the parameter"),
        (lambda: Query(10), "`x: Annotated[int, Query()] = 10`"),
        (lambda: Body(embed=True), "a Struct with one field"),
        (lambda: Query(...), "what has no default is required"),  # type: ignore[arg-type]
        (lambda: Query(regex="a"), "Meta(pattern=…)"),
        (lambda: Query(include_in_schema=False), "leave it out"),
        (lambda: Header(convert_underscores=False), 'Header("x_name")'),
        (lambda: Depends(), "or its class"),
        (lambda: Depends(int, use_cache=False), "once a request"),
    ],
)
def test_options_of_other_frameworks_markers(make: Any, said: str) -> None:
    with pytest.raises(CompileError) as caught:
        make()
    assert said in caught.value.mend


def test_options_of_other_frameworks_decorators() -> None:
    assert foreign_option(["tags", "status_code"]) == ("status_code", "write `status=`")
    assert foreign_option(["tags"]) is None


def test_ours_are_not_taken_for_foreign() -> None:
    class Own(Struct):
        n: Annotated[int, Meta(ge=1)] = 1

    async def handler(x: Own, y: Annotated[int, ModuleType("note")] = 1) -> None: ...

    read_handler(RouteSpec("/", handler))


def test_a_module_or_a_value_in_the_place_of_a_type() -> None:
    async def module(x: datetime) -> None: ...  # type: ignore[valid-type]

    async def value(x: 5) -> None: ...  # type: ignore[valid-type]

    async def unhashable(x: [1]) -> None: ...  # type: ignore[valid-type]

    async def returned() -> datetime: ...  # type: ignore[valid-type,empty-body]

    assert mend(module) == "write the class that is meant, as in `x: datetime.datetime`"
    assert mend(value) == "write its type: `x: int`"
    assert mend(unhashable) == "write its type: `x: list`"
    assert mend(returned, None) == "write the class that is meant, as in `-> datetime.datetime`"


def test_a_structure_in_the_place_of_a_path_variable() -> None:
    class Own(Struct):
        n: int

    async def handler(own: Own) -> None: ...

    with pytest.raises(CompileError, match="a path variable holds one value, and Own is more"):
        read_handler(RouteSpec("/{own}", handler, ("own",)))


def test_a_decorator_that_hides_the_handler() -> None:
    def hiding(function: Any) -> Any:
        async def inner(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return inner

    @hiding
    async def handler(x: int) -> None: ...

    assert "functools.wraps" in mend(handler, "args")
