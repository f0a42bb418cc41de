"""fastlane with `fastlane.sql`, as DESIGN 2 writes it."""

from typing import Annotated

from msgspec import Meta

from bench.apps.sql.queries import INSERT, MANY, ONE
from bench.apps.sql.structs import Greeting, NewPost, Post
from fastlane import App, NotFound
from fastlane.sql import Database

app = App(title="Bench")
db = Database("blog", migrations=None)


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting("Hello, world!")


@app.get("/posts/{id}")
async def get_post(id: int) -> Post:  # noqa: A002  # the variable of the path
    post = await db.fetch_optional(Post, ONE, id)
    if post is None:
        raise NotFound(f"no post {id}")
    return post


@app.get("/posts")
async def list_posts(limit: Annotated[int, Meta(ge=1, le=100)]) -> list[Post]:
    return await db.fetch_all(Post, MANY, limit)


@app.post("/posts", status=201)
async def create_post(new: NewPost) -> Post:
    return await db.fetch_one(Post, INSERT, new.title, new.body)
