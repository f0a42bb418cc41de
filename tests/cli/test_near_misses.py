"""The 404 of ``fastlane dev``, which names what was probably meant."""

from __future__ import annotations

from fastlane import App, HTTPError, NotFound, Request, Response
from fastlane.testing import TestClient
from fastlane_cli.near_misses import explain_not_found


def details(app: App, *targets: str) -> list[str]:
    explain_not_found(app)
    with TestClient(app) as client:
        return [client.get(target).json()["detail"] for target in targets]


def blog() -> App:
    app = App()

    @app.get("/posts")
    async def list_posts() -> str:
        return ""

    @app.get("/posts/{id}/comments/")
    async def comments(id: int) -> str:
        raise NotFound("no such post")

    return app


def test_a_slash_too_many_or_too_few_is_named() -> None:
    hint = " With and without the last slash are different routes."
    assert details(blog(), "/posts/", "/posts/3/comments") == [
        "there is no route for GET /posts/. Did you mean /posts?" + hint,
        "there is no route for GET /posts/3/comments. Did you mean /posts/3/comments/?" + hint,
    ]


def test_capitals_and_double_slashes_are_named() -> None:
    assert details(blog(), "/Posts", "//posts", "//Posts/") == [
        "there is no route for GET /Posts. Did you mean /posts?",
        "there is no route for GET //posts. Did you mean /posts?",
        "there is no route for GET //Posts/. Did you mean /posts?",
    ]


def test_templates_that_look_like_it_are_named() -> None:
    assert details(blog(), "/psots", "/post/3/comment") == [
        "there is no route for GET /psots. Did you mean /posts?",
        "there is no route for GET /post/3/comment. Did you mean /posts/{id}/comments/?",
    ]


def test_a_value_where_a_template_has_a_variable_is_no_difference() -> None:
    app = blog()

    @app.get("/posts/{id}")
    async def get_post(id: int) -> str:
        return ""

    assert details(app, "/post/1", "/") == [
        "there is no route for GET /post/1. Did you mean /posts/{id}?",
        "there is no route for GET /",
    ]


def test_nothing_alike_has_no_hint() -> None:
    assert details(blog(), "/elsewhere") == ["there is no route for GET /elsewhere"]


def test_a_handlers_own_404_stays_as_it_is() -> None:
    assert details(blog(), "/posts/3/comments/") == ["no such post"]


def test_an_app_that_answers_404_itself_keeps_its_answer() -> None:
    app = blog()

    @app.exception_handler(HTTPError)
    async def own(request: Request, error: HTTPError) -> Response[dict[str, str]]:
        return Response({"detail": "mine"}, status=error.status)

    assert details(app, "/posts/") == ["mine"]
