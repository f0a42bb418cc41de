"""FastAPI with asyncpg's pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

from bench.apps.sql.queries import CONNECTIONS, INSERT, MANY, ONE, URL

pool: Any = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    global pool
    async with asyncpg.create_pool(URL, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        yield


app = FastAPI(lifespan=lifespan)


class Greeting(BaseModel):
    message: str


class NewPost(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=200)]
    body: str


class Post(BaseModel):
    id: int
    title: str
    body: str
    likes: int


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting(message="Hello, world!")


@app.get("/posts/{post_id}")
async def get_post(post_id: int) -> Post:
    row = await pool.fetchrow(ONE, post_id)
    if row is None:
        raise HTTPException(404, f"no post {post_id}")
    return Post(**row)


@app.get("/posts")
async def list_posts(limit: Annotated[int, Query(ge=1, le=100)]) -> list[Post]:
    return [Post(**row) for row in await pool.fetch(MANY, limit)]


@app.post("/posts", status_code=201)
async def create_post(new: NewPost) -> Post:
    return Post(**await pool.fetchrow(INSERT, new.title, new.body))
