"""A blog: what an application in fastlane looks like.

fastlane dev   blog:app --app-dir examples/blog
fastlane serve blog:app --app-dir examples/blog --workers auto
"""

from __future__ import annotations

import html
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from fastlane import (
    App,
    BackgroundTasks,
    Depends,
    Header,
    HTMLResponse,
    NotFound,
    PermissionDenied,
    State,
    Unauthenticated,
)
from store import Store

logger = logging.getLogger("blog")

Tag = Annotated[str, Meta(pattern="^[a-z0-9-]{1,30}$")]


class NewPost(Struct):
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: str
    tags: Annotated[list[Tag], Meta(max_length=10)] = []


class Post(NewPost, kw_only=True):
    id: int
    author: str
    likes: int = 0


# Made at import, so that the workers that are forked from here share it.
posts = Store(Post)


class Mailer:
    """Stands for whatever a worker opens once: a connection pool, a client, a model."""

    def __init__(self) -> None:
        self.sent = 0

    async def tell_followers(self, post: Post) -> None:
        self.sent += 1
        logger.warning("mail %d: %s published %r", self.sent, post.author, post.title)


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[Mailer]:
    mailer = Mailer()
    yield mailer
    logger.warning("the worker ends; it sent %d mails", mailer.sent)


app = App(title="Blog", lifespan=lifespan)


async def author(x_author: Annotated[str | None, Header()] = None) -> str:
    """Who is asking. A real application would check a token here."""
    if not x_author:
        raise Unauthenticated("say who you are in the header X-Author", headers={"www-authenticate": "X-Author"})
    return x_author


Author = Annotated[str, Depends(author)]


@app.get("/")
async def index() -> HTMLResponse:
    items = "".join(
        f'<li><a href="/posts/{post.id}">{html.escape(post.title)}</a> '
        f"by {html.escape(post.author)}, {post.likes} likes</li>"
        for post in islice(reversed(posts.all().values()), 20)
    )
    return HTMLResponse(f"<!doctype html><title>Blog</title><h1>Blog</h1><ul>{items or '<li>No posts yet.</li>'}</ul>")


@app.get("/posts")
async def list_posts(tag: Tag | None = None, limit: Annotated[int, Meta(ge=1, le=100)] = 20) -> list[Post]:
    """The newest posts first."""
    newest = reversed(posts.all().values())
    return list(islice((post for post in newest if tag is None or tag in post.tags), limit))


@app.get("/posts/{id}")
async def get_post(id: int) -> Post:
    post = posts.all().get(id)
    if post is None:
        raise NotFound(f"no post {id}")
    return post


@app.post("/posts", status=201)
async def create_post(
    new: NewPost, author: Author, mailer: Annotated[Mailer, State()], background: BackgroundTasks
) -> Post:
    post = posts.add(lambda id: Post(title=new.title, body=new.body, tags=new.tags, id=id, author=author))
    background.add(mailer.tell_followers, post)
    return post


@app.post("/posts/{id}/likes")
async def like_post(id: int) -> Post:
    post = posts.change(id, lambda post: replace(post, likes=post.likes + 1))
    if post is None:
        raise NotFound(f"no post {id}")
    return post


@app.delete("/posts/{id}")
async def delete_post(id: int, author: Author) -> None:
    post = await get_post(id)
    if post.author != author:
        raise PermissionDenied(f"post {id} is not yours")
    posts.remove(id)
