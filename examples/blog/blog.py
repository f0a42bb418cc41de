"""A blog: what an application in fastlane looks like, with a database, a topic, a secret and a cron job.

`make serve` serves it, with nothing but Python installed. In this directory:

fastlane dev   blog:app                             # reloads on change
fastlane serve blog:app --embedded --workers auto   # what `make serve` does
fastlane sql   shell   blog:app --embedded          # psql
fastlane cron  history blog:app --embedded

curl -H 'x-author: ada' --json '{"title": "Hello", "body": "First."}' http://127.0.0.1:8000/posts
"""

from __future__ import annotations

import html
import logging
from typing import Annotated

from msgspec import Meta, Struct

from fastlane import App, Depends, Header, HTMLResponse, NotFound, PermissionDenied, Unauthenticated
from fastlane.cron import cron
from fastlane.pubsub import Retry, Topic
from fastlane.secrets import Secret
from fastlane.sql import Database

logger = logging.getLogger("blog")

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Tag = Annotated[str, Meta(pattern="^[a-z0-9-]{1,30}$")]


class NewPost(Struct):
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: str
    tags: Annotated[list[Tag], Meta(max_length=10)] = []


class Post(NewPost, kw_only=True):
    id: Id
    author: str
    likes: int = 0


class Follower(Struct):
    email: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]


class PostPublished(Struct):
    post_id: int
    author: str


app = App(title="Blog")
db = Database("blog", migrations="migrations")
mail_key = Secret("MAIL_KEY")
published = Topic("post-published", PostPublished, delivery="at-least-once")


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
        for post in await list_posts()
    )
    return HTMLResponse(f"<!doctype html><title>Blog</title><h1>Blog</h1><ul>{items or '<li>No posts yet.</li>'}</ul>")


@app.get("/posts")
async def list_posts(tag: Tag | None = None, limit: Annotated[int, Meta(ge=1, le=100)] = 20) -> list[Post]:
    """The newest posts first."""
    if tag is None:
        return await db.fetch_all(Post, "SELECT * FROM posts ORDER BY id DESC LIMIT $1", limit)
    return await db.fetch_all(Post, "SELECT * FROM posts WHERE tags @> ARRAY[$1] ORDER BY id DESC LIMIT $2", tag, limit)


@app.get("/posts/{id}")
async def get_post(id: Id) -> Post:
    post = await db.fetch_optional(Post, "SELECT * FROM posts WHERE id = $1", id)
    if post is None:
        raise NotFound(f"no post {id}")
    return post


@app.post("/posts", status=201)
async def create_post(new: NewPost, author: Author) -> Post:
    async with db.transaction() as tx:
        post = await tx.fetch_one(
            Post,
            "INSERT INTO posts (title, body, tags, author) VALUES ($1, $2, $3, $4) RETURNING *",
            *(new.title, new.body, new.tags, author),
        )
        await published.publish(PostPublished(post.id, author), tx=tx)  # sent if and only if this commits
    return post


@app.post("/posts/{id}/likes")
async def like_post(id: Id) -> Post:
    post = await db.fetch_optional(Post, "UPDATE posts SET likes = likes + 1 WHERE id = $1 RETURNING *", id)
    if post is None:
        raise NotFound(f"no post {id}")
    return post


@app.delete("/posts/{id}")
async def delete_post(id: Id, author: Author) -> None:
    post = await get_post(id)
    if post.author != author:
        raise PermissionDenied(f"post {id} is not yours")
    await db.execute("DELETE FROM posts WHERE id = $1", id)


@app.get("/trending")
async def list_trending() -> list[Post]:
    """What was liked most when somebody last looked, which is at most ten minutes ago."""
    return await db.fetch_all(Post, "SELECT posts.* FROM trending JOIN posts USING (id) ORDER BY score DESC, id DESC")


@app.post("/authors/{author}/followers", status=204)
async def follow(author: str, follower: Follower) -> None:
    """Be told by mail what somebody publishes."""
    await db.execute(
        "INSERT INTO followers (author, email) VALUES ($1, $2) ON CONFLICT DO NOTHING", author, follower.email
    )


@published.subscribe(
    "mail-followers",
    ack_deadline=30,
    max_concurrency=20,
    retry=Retry(min_backoff=1, max_backoff=600, max_attempts=10),
)
async def mail_followers(event: PostPublished) -> None:
    title = await db.fetch_optional(str, "SELECT title FROM posts WHERE id = $1", event.post_id)
    if title is None:
        return  # deleted in the meantime
    for email in await db.fetch_all(str, "SELECT email FROM followers WHERE author = $1", event.author):
        await send_mail(mail_key.get(), email, f"{event.author} published {title!r}")


async def send_mail(key: str, to: str, subject: str) -> None:
    """Stands for a request to a mail service, which the key opens."""
    logger.warning("mail to %s: %s", to, subject)


@cron("trending", every="10m")
async def refresh_trending() -> None:
    await db.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY trending")
