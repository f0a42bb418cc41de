"""The example blog: what ``make serve`` serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType

import httpx
import pytest

from fastlane.testing import AsyncTestClient, TestClient
from tests.examples.conftest import ImportExample, ServeExample, fastlane

ADA = {"x-author": "ada"}
KEY = "a-key-of-the-tests"


@pytest.fixture
def blog(import_example: ImportExample) -> Iterator[ModuleType]:
    blog = import_example("blog")
    with blog.mail_key.override(KEY):
        yield blog


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


def test_followers_hear_of_a_post_by_mail(
    blog: ModuleType, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, ...]] = []

    async def send_mail(*mail: str) -> None:
        sent.append(mail)

    monkeypatch.setattr(blog, "send_mail", send_mail)
    for email in ("bob@example.org", "eve@example.org", "bob@example.org"):
        assert client.post("/authors/ada/followers", json={"email": email}).status_code == 204
    client.post("/posts", json={"title": "Hello", "body": ""}, headers=ADA)
    client.post("/posts", json={"title": "Nobody reads me", "body": ""}, headers={"x-author": "bob"})
    client.settle()
    assert sorted(sent) == [
        (KEY, "bob@example.org", "ada published 'Hello'"),
        (KEY, "eve@example.org", "ada published 'Hello'"),
    ]


def test_a_post_that_is_deleted_before_the_mail_is_mailed_to_nobody(
    blog: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    async def publish() -> None:
        async with AsyncTestClient(blog.app) as client:
            await client.post("/authors/ada/followers", json={"email": "bob@example.org"})
            await blog.published.publish(blog.PostPublished(post_id=7, author="ada"))
            await client.settle()

    asyncio.run(publish())
    assert not [message for message in caplog.messages if "mail to" in message]


def test_what_is_trending_is_what_was_liked_when_somebody_last_looked(blog: ModuleType) -> None:
    async def look() -> None:
        async with AsyncTestClient(blog.app) as client:
            for title in ("one", "two", "three"):
                await client.post("/posts", json={"title": title, "body": ""}, headers=ADA)
            for liked in (2, 3, 3):
                await client.post(f"/posts/{liked}/likes")
            assert (await client.get("/trending")).json() == []
            await blog.refresh_trending.fire(at=datetime(2026, 7, 1, 12, 10, tzinfo=UTC))
            assert [post["title"] for post in (await client.get("/trending")).json()] == ["three", "two"]

    asyncio.run(look())


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
    assert client.get(f"/posts/{2**63}").status_code == 422


def test_the_index_is_html_and_escapes_what_people_wrote(client: TestClient) -> None:
    assert "No posts yet." in client.get("/").text
    client.post("/posts", json={"title": "<script>", "body": ""}, headers=ADA)
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text


@pytest.mark.process
def test_it_is_served_with_what_is_in_its_directory_and_nothing_else(serve_example: ServeExample) -> None:
    served = serve_example("blog", "--embedded", MAIL_KEY="")  # empty counts as not set: .env has one
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as client:
        client.post("/authors/ada/followers", json={"email": "bob@example.org"}).raise_for_status()
        posts = [client.post("/posts", json={"title": f"No. {n}", "body": ""}, headers=ADA).json() for n in range(10)]
        assert {client.post(f"/posts/{posts[3]['id']}/likes").json()["likes"] for _ in range(20)} == set(range(1, 21))
        for post in posts:
            served.wait_for(f"mail to bob@example.org: ada published '{post['title']}'", 60)

        target = ("blog:app", "--embedded")
        assert fastlane(served.directory, "cron", "run", target[0], "trending", target[1]) == "trending: done\n"
        assert [post["id"] for post in client.get("/trending").json()] == [posts[3]["id"]]
    assert "0002_trending  applied" in fastlane(served.directory, "sql", "status", *target)
    assert "trending" in fastlane(served.directory, "cron", "history", *target)
    assert served.stop(30) == 0
    assert "ERROR" not in served.text
