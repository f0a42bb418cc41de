"""fastlane's server and handlers, but asyncpg with its own pool in the place of `fastlane.sql`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from msgspec import Meta

from bench.apps.sql.queries import CONNECTIONS, INSERT, MANY, ONE, URL
from bench.apps.sql.structs import Greeting, NewPost, Post
from fastlane import App, NotFound

pool: Any = None


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    global pool
    async with asyncpg.create_pool(URL, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        yield


app = App(title="Bench", lifespan=lifespan)


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting("Hello, world!")


@app.get("/posts/{id}")
async def get_post(id: int) -> Post:  # noqa: A002  # the variable of the path
    row = await pool.fetchrow(ONE, id)
    if row is None:
        raise NotFound(f"no post {id}")
    return Post(*row)


@app.get("/posts")
async def list_posts(limit: Annotated[int, Meta(ge=1, le=100)]) -> list[Post]:
    return [Post(*row) for row in await pool.fetch(MANY, limit)]


@app.post("/posts", status=201)
async def create_post(new: NewPost) -> Post:
    return Post(*await pool.fetchrow(INSERT, new.title, new.body))
