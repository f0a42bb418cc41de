"""``fastlane routes``: what there is, where it stands, how it runs."""

from __future__ import annotations

import json

from .conftest import Fastlane, Write

BLOG = """
import asyncio
from fastlane import App, Router

app = App()
admin = Router("/admin")

@app.get("/posts/{id}")
async def get_post(id: int) -> int:
    return id

@app.route("/slow", methods=["GET", "POST"])
async def slow() -> str:
    await asyncio.sleep(0)
    return ""

@app.get("/plain")
def plain() -> str:
    return ""

@app.get("/quick", inline=True)
def quick() -> str:
    return ""

@admin.delete("/posts/{id}")
async def delete_post(id: int) -> None: ...

app.include(admin)
"""


def test_the_table_has_methods_path_way_handler_and_place(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", BLOG)
    outcome = fastlane("routes", "blog")
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["GET", "/posts/{id}", "lane", "get_post", "blog.py:8"],
        ["GET,POST", "/slow", "task", "slow", "blog.py:12"],
        ["GET", "/plain", "thread", "plain", "blog.py:17"],
        ["GET", "/quick", "lane", "quick", "blog.py:21"],
        ["DELETE", "/admin/posts/{id}", "lane", "delete_post", "blog.py:25"],
    ]
    assert len({line.index("blog.py") for line in outcome.out.splitlines()}) == 1, "the columns are aligned"


def test_json_has_the_same_for_programs(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", BLOG)
    found = json.loads(fastlane("routes", "blog", "--json").out)
    assert found[0] == {
        "methods": "GET",
        "path": "/posts/{id}",
        "handler": "get_post",
        "place": "blog.py:8",
        "runs": "lane",
    }
    assert "def " in json.loads(fastlane("routes", "blog", "--json", "--source").out)[0]["source"]


def test_source_prints_the_generated_function_of_each_route(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", BLOG)
    shown = fastlane("routes", "blog", "--source").out
    assert "# GET /posts/{id}: get_post (blog.py:8), lane\n" in shown
    assert shown.count("\ndef ") + shown.count("\nasync def ") >= 5


def test_an_app_behind_asgi_middleware_takes_the_asgi_door(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", BLOG + "\napp.add_asgi_middleware(lambda app: app)\n")
    outcome = fastlane("routes", "blog")
    assert {line.split()[2] for line in outcome.out.splitlines()} == {"asgi"}


def test_websockets_and_mounts_are_listed_as_asgi(fastlane: Fastlane, write: Write) -> None:
    write(
        "blog.py",
        "from fastlane import App, WebSocket\napp = App()\n"
        "@app.websocket('/chat')\nasync def chat(websocket: WebSocket) -> None: ...\n"
        "class Old:\n    async def __call__(self, scope, receive, send): ...\n"
        "app.mount('/old', Old())\n",
    )
    assert [line.split() for line in fastlane("routes", "blog").out.splitlines()] == [
        ["WEBSOCKET", "/chat", "asgi", "chat", "blog.py:3"],
        ["MOUNT", "/old", "asgi", "Old"],
    ]
    assert fastlane("routes", "blog", "--source").out.count("def ") == 0


def test_an_app_without_routes_has_an_empty_table(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", "from fastlane import App\napp = App()\n")
    outcome = fastlane("routes", "blog")
    assert (outcome.code, outcome.out) == (0, "")


def test_another_frameworks_app_has_no_routes_that_we_know(fastlane: Fastlane, write: Write) -> None:
    write("blog.py", "async def app(scope, receive, send): ...\n")
    outcome = fastlane("routes", "blog")
    assert outcome.code == 4
    assert outcome.err == "fastlane: blog is no fastlane App but a function, whose routes are not known here\n"
