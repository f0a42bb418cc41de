"""A small app that several test modules put something around."""

from typing import Any

from msgspec import Struct

from fastlane import App, NotFound

__all__ = ["NewPost", "Post", "blog"]


class NewPost(Struct):
    title: str


class Post(NewPost):
    id: int


def blog(**options: Any) -> App:
    app = App(**options)

    @app.get("/posts/{id}")
    async def get_post(id: int) -> Post:
        if id == 404:
            raise NotFound(f"no post {id}")
        return Post(title="hello", id=id)

    @app.post("/posts", status=201)
    async def create_post(new: NewPost) -> Post:
        return Post(title=new.title, id=1)

    @app.get("/boom")
    async def boom() -> str:
        raise KeyError("the password")

    return app
