"""The public names as a type checker sees them: pyright (strict) and mypy read what pytest runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

from msgspec import Struct

from fastlane import (
    App,
    BackgroundTasks,
    CallNext,
    Depends,
    Header,
    HTMLResponse,
    HTTPError,
    NotFound,
    Request,
    Response,
    Router,
    State,
)
from fastlane.testing import TestClient


class Post(Struct):
    id: int
    title: str


class Resources:
    greeting = "hello"


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[Resources]:
    yield Resources()


async def author(x_author: Annotated[str | None, Header()] = None) -> str:
    return x_author or "nobody"


def test_a_decorated_handler_keeps_its_type() -> None:
    app = App(lifespan=lifespan)
    router = Router("/posts")

    @router.get("/{id}")
    async def get_post(id: int, by: Annotated[str, Depends(author)] = "") -> Post:
        return Post(id, by)

    @app.post("/posts", status=201, tags=["posts"])
    def create(post: Post, resources: Annotated[Resources, State()], after: BackgroundTasks) -> Response[Post]:
        after.add(print, resources.greeting)
        return Response(post, status=201)

    async def call() -> None:
        assert_type(await get_post(1), Post)
        assert_type(create(Post(1, ""), Resources(), BackgroundTasks()).content, Post)

    asyncio.run(call())
    assert_type(app.url_for(create), str)


def test_middleware_and_exception_handlers_keep_their_types() -> None:
    app = App()

    @app.middleware
    async def timing(request: Request, call_next: CallNext) -> Response[Any]:
        assert_type(request.method, str)
        assert_type(request.headers.get("x"), str | None)
        return await call_next(request)

    @app.exception_handler(NotFound)
    async def not_found(request: Request, error: NotFound) -> HTMLResponse:
        assert_type(error.status, int)
        return HTMLResponse(error.detail, status=error.status)

    async def call() -> None:
        assert_type(await not_found(None, NotFound("gone")), HTMLResponse)  # type: ignore[arg-type]  # pyright: ignore

    asyncio.run(call())
    assert_type(timing.__name__, str)


def test_clients_and_errors_have_their_types() -> None:
    with TestClient(App()) as client:
        answer = client.get("/")
        assert_type(answer.status_code, int)
        assert_type(answer.text, str)
    error = HTTPError(409, "taken", code="slug_taken", slug="hello")
    assert_type(error.headers, dict[str, str] | None)
    assert_type(error.problem(), dict[str, object])
