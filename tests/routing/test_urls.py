import datetime
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from msgspec import Meta

from fastlane import App, Path, Query, Request, Router


class Colour(enum.Enum):
    RED = "red"


def app_with(path: str, handler: Callable[..., Any], **options: Any) -> App:
    app = App()
    app.get(path, **options)(handler)
    return app


async def get_post(id: int, page: int = 1, tags: Annotated[list[str], Query()] = []) -> str:  # noqa: B006
    raise AssertionError


async def get_file(path: str) -> str:
    raise AssertionError


async def get_any(value: str) -> str:
    raise AssertionError


def test_a_handler_and_its_values_are_a_path() -> None:
    assert app_with("/posts/{id}", get_post).url_for(get_post, id=3) == "/posts/3"


def test_a_route_is_found_by_its_name_too() -> None:
    app = app_with("/posts/{id}", get_post, name="post")

    assert app.url_for("post", id=3) == "/posts/3"
    assert app_with("/posts/{id}", get_post).url_for("get_post", id=3) == "/posts/3"


def test_prefixes_of_routers_count() -> None:
    app, router = App(), Router("/v1")
    router.get("/posts/{id}")(get_post)
    app.include(router, "/api")

    assert app.url_for(get_post, id=3) == "/api/v1/posts/3"


def test_quoting_keeps_a_value_in_its_segment() -> None:
    assert app_with("/{value}", get_any).url_for(get_any, value="a/b?c#d é") == "/a%2Fb%3Fc%23d%20%C3%A9"
    assert app_with("/f/{path:path}", get_file).url_for(get_file, path="a/b c") == "/f/a/b%20c"
    assert app_with("/f/{path:path}", get_file).url_for(get_file, path="") == "/f/"


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (uuid.UUID, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date, datetime.date(2026, 11, 24), "2026-11-24"),
        (Colour, Colour.RED, "red"),
        (bool, True, "true"),
        (bool, False, "false"),
        (float, 1.5, "1.5"),
    ],
)
def test_values_are_written_as_they_are_read(annotation: Any, value: Any, text: str) -> None:
    async def handler(value: Any) -> str:
        raise AssertionError

    handler.__annotations__["value"] = annotation

    assert app_with("/{value}", handler).url_for(handler, value=value) == f"/{text}"


def test_the_query_is_encoded_repeated_and_left_out() -> None:
    app = app_with("/posts/{id}", get_post)

    assert (
        app.url_for(get_post, id=3, query={"page": 2, "tags": ["a b", "c&d"]}) == "/posts/3?page=2&tags=a+b&tags=c%26d"
    )
    assert app.url_for(get_post, id=3, query={"page": None}) == "/posts/3"
    assert app.url_for(get_post, id=3, query={}) == "/posts/3"


@pytest.mark.parametrize(
    ("values", "query", "problem"),
    [
        ({}, None, "'/posts/{id}' with ['id'], got []"),
        ({"id": 3, "x": 1}, None, "got ['id', 'x']"),
        ({"id": "abc"}, None, "path value 'id': Expected `int`"),
        ({"id": 3}, {"page": "x"}, "query value 'page': Expected `int`"),
        ({"id": 3}, {"sort": "up"}, "reads no query value 'sort', only ['page', 'tags']"),
        ({"id": None}, None, "can't stand in a URL: NoneType"),
        ({"id": [1]}, None, "can't stand in a URL: list"),
        ({"id": object()}, None, "can't stand in a URL: object"),
    ],
)
def test_what_the_handler_does_not_read_is_refused(values: Any, query: Any, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        app_with("/posts/{id}", get_post).url_for(get_post, query=query, **values)

    assert problem.replace("'/posts/{id}'", "/posts/{id}") in str(caught.value)


def test_constraints_of_the_annotation_count() -> None:
    async def page(number: Annotated[int, Meta(ge=1)]) -> str:
        raise AssertionError

    with pytest.raises(ValueError, match=">= 1"):
        app_with("/{number}", page).url_for(page, number=0)


def test_an_empty_segment_matches_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        app_with("/{value}", get_any).url_for(get_any, value="")


def test_a_path_marker_with_a_name_is_known() -> None:
    async def handler(number: Annotated[int, Path("post-id")]) -> str:
        raise AssertionError

    app = app_with("/{post-id}", handler)

    assert app.url_for(handler, **{"post-id": 3}) == "/3"
    with pytest.raises(ValueError, match="Expected `int`"):
        app.url_for(handler, **{"post-id": "x"})


def test_a_handler_that_takes_the_request_may_read_any_query() -> None:
    async def handler(request: Request) -> str:
        raise AssertionError

    assert app_with("/", handler).url_for(handler, query={"x": [1, True]}) == "/?x=1&x=true"


def test_a_query_dict_takes_any_name() -> None:
    async def handler(everything: Annotated[dict[str, int], Query()]) -> str:
        raise AssertionError

    assert app_with("/", handler).url_for(handler, query={"x": 1}) == "/?x=1"


def test_variables_may_have_any_name() -> None:
    app = App()

    @app.get("/{self}/{target}")
    async def handler(self: int, target: str) -> str:
        raise AssertionError

    assert app.url_for(handler, self=1, target="a") == "/1/a"


def test_what_is_no_route_is_refused() -> None:
    app = App()

    with pytest.raises(ValueError, match="no route 'get_post'"):
        app.url_for(get_post, id=3)
    with pytest.raises(ValueError, match="no route 'nothing'"):
        app.url_for("nothing")


def test_of_several_paths_the_variables_decide() -> None:
    async def handler(id: int = 0) -> str:
        raise AssertionError

    app = App()
    app.get("/all")(handler)
    app.get("/everything", name="everything")(handler)

    with pytest.raises(ValueError, match="several paths"):
        app.url_for(handler)
    assert app.url_for("everything") == "/everything"


def test_several_methods_of_one_path_are_one_url() -> None:
    async def handler(id: int) -> str:
        raise AssertionError

    app = App()
    app.get("/{id}")(handler)
    app.delete("/{id}")(handler)

    assert app.url_for(handler, id=1) == "/1"


def test_routes_added_between_two_questions_count_until_the_freeze() -> None:
    app = app_with("/a/{value}", get_any)
    assert app.url_for(get_any, value="1") == "/a/1"
    app.get("/b/{path:path}")(get_file)
    assert app.url_for(get_file, path="1") == "/b/1"
    app.freeze()
    assert app.url_for(get_file, path="1") == app.url_for(get_file, path="1") == "/b/1"
