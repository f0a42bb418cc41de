"""The example blog: what ``make serve`` serves."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fastlane.testing import TestClient

EXAMPLE = Path(__file__).parents[2] / "examples" / "blog"
ADA = {"x-author": "ada"}


@pytest.fixture
def blog(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module("blog")
    for name in ("blog", "store"):
        del sys.modules[name]


@pytest.fixture
def client(blog: ModuleType) -> Iterator[TestClient]:
    with TestClient(blog.app) as client:
        yield client


def test_a_post_is_created_read_liked_listed_and_deleted(client: TestClient) -> None:
    created = client.post("/posts", json={"title": "Hello", "body": "First.", "tags": ["news"]}, headers=ADA)
    assert created.status_code == 201
    expected = {"title": "Hello", "body": "First.", "tags": ["news"], "id": 1, "author": "ada", "likes": 0}
    assert created.json() == expected
    assert client.get("/posts/1").json() == expected
    assert client.post("/posts/1/likes").json() == expected | {"likes": 1}
    assert client.get("/posts?tag=news").json() == [expected | {"likes": 1}]
    assert client.get("/posts?tag=other").json() == []
    assert client.delete("/posts/1", headers=ADA).status_code == 204
    assert client.get("/posts").json() == []


def test_followers_hear_of_a_post_after_the_answer(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    client.post("/posts", json={"title": "Hello", "body": ""}, headers=ADA)
    assert "mail 1: ada published 'Hello'" in caplog.messages


def test_nobody_writes_without_a_name_or_deletes_anothers_post(client: TestClient) -> None:
    anonymous = client.post("/posts", json={"title": "Hello", "body": ""})
    assert (anonymous.status_code, anonymous.json()["code"]) == (401, "unauthenticated")
    client.post("/posts", json={"title": "Hello", "body": ""}, headers=ADA)
    assert client.delete("/posts/1", headers={"x-author": "bob"}).status_code == 403
    assert client.get("/posts/1").status_code == 200


def test_what_is_not_there_is_a_404(client: TestClient) -> None:
    assert client.get("/posts/7").json()["detail"] == "no post 7"
    assert client.post("/posts/7/likes").status_code == 404
    assert client.delete("/posts/7", headers=ADA).status_code == 404


def test_every_wrong_value_is_named(client: TestClient) -> None:
    refused = client.post("/posts", json={"title": "", "tags": ["ok", "No!"]}, headers=ADA)
    assert refused.status_code == 422
    assert [error["path"] for error in refused.json()["errors"]] == ["title", "body", "tags[1]"]
    assert client.get("/posts?limit=0").status_code == 422


def test_the_index_is_html_and_escapes_what_people_wrote(client: TestClient) -> None:
    assert "No posts yet." in client.get("/").text
    client.post("/posts", json={"title": "<script>", "body": ""}, headers=ADA)
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text


def test_workers_see_each_others_posts(blog: ModuleType) -> None:
    child = os.fork()
    if child == 0:
        posts = [blog.posts.add(lambda number: blog.Post(title="t", body="", id=number, author="child")) for _ in "ab"]
        blog.posts.change(posts[0].id, lambda post: blog.replace(post, likes=3))
        blog.posts.remove(posts[1].id)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert {number: (post.author, post.likes) for number, post in blog.posts.all().items()} == {1: ("child", 3)}


def test_a_full_store_refuses_and_keeps_what_it_has(blog: ModuleType) -> None:
    def big(number: int) -> object:
        return blog.Post(title="t", body="x" * (15 << 20), id=number, author="ada")

    blog.posts.add(big)
    with pytest.raises(sys.modules["store"].ResourceExhausted):
        blog.posts.add(big)
    assert list(blog.posts.all()) == [1]
