"""What the endpoints take and give, for the peers that know msgspec."""

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["Greeting", "NewPost", "Post"]


class Greeting(Struct):
    message: str


class NewPost(Struct):
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: str


class Post(Struct):
    id: int
    title: str
    body: str
    likes: int
