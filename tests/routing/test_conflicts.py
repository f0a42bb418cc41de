import pytest

from fastlane import App, CompileError, Router
from fastlane.routing.conflicts import ambiguous
from fastlane.routing.template import parse_template
from fastlane.websocket import WebSocket


async def first(x: str = "") -> str:
    raise AssertionError


async def second(x: str = "") -> str:
    raise AssertionError


async def one(x: str) -> str:
    raise AssertionError


async def two(y: str) -> str:
    raise AssertionError


async def other(x: str) -> str:
    raise AssertionError


@pytest.mark.parametrize(("path", "again"), [("/posts", "/posts"), ("/", "/")])
def test_the_same_method_and_path_twice_names_both_handlers(path: str, again: str) -> None:
    app = App()
    app.get(path)(first)

    with pytest.raises(CompileError) as caught:
        app.get(again)(second)

    assert caught.value.handler == "second"
    assert "'first'" in caught.value.problem
    assert f"{__file__}:{first.__code__.co_firstlineno}" in caught.value.problem


def test_names_of_variables_make_no_difference() -> None:
    app = App()
    app.get("/posts/{x}")(one)

    with pytest.raises(CompileError, match=r"claimed twice: 'one'.*has GET /posts/\{x\}"):
        app.get("/posts/{y}")(two)


def test_another_method_is_no_conflict() -> None:
    app = App()
    app.get("/posts")(first)
    app.post("/posts")(second)

    assert len(app.routes) == 2


def test_a_conflict_through_a_router_is_found_when_it_is_included() -> None:
    app = App()
    app.get("/posts/a")(first)
    router = Router("/posts")
    router.get("/a")(second)

    with pytest.raises(CompileError, match="'first'"):
        app.include(router)


def test_a_refused_route_is_not_there() -> None:
    app = App()
    app.get("/posts")(first)
    with pytest.raises(CompileError):
        app.get("/posts")(second)

    assert [route.handler for route in app.routes] == [first]


def test_of_a_router_that_is_refused_nothing_is_kept() -> None:
    app = App()
    app.get("/posts/b")(first)
    router = Router("/posts")
    router.get("/a")(second)
    router.get("/{x}.json")(one)
    router.get("/b")(second)

    with pytest.raises(CompileError):
        app.include(router)

    app.get("/posts/a")(first)
    app.get("/posts/v{y}")(two)
    assert [route.path for route in app.routes] == ["/posts/b", "/posts/a", "/posts/v{y}"]


def test_overlapping_mixed_segments_can_not_be_told_apart() -> None:
    app = App()
    app.get("/{x}.json")(one)

    with pytest.raises(CompileError, match="can't be told apart"):
        app.get("/v{x}")(other)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("/{x}.json", "/v{x}", True),
        ("/{x}.json", "/{x}.xml", False),
        ("/{x}.json", "/v{x}.json", False),
        ("/{x}.json", "/{x}", False),
        ("/a/{x}.json", "/b/v{x}", False),
        ("/{a}/{x}.json", "/{b}/v{x}", True),
        ("/{x}.json/a", "/v{x}/b", False),
        ("/{x}.json/a", "/v{x}/{y}", True),
        ("/{x}.json/a", "/v{x}", False),
        ("/{x}.json/{t:path}", "/v{x}/b/c", True),
        ("/{t:path}", "/v{x}", False),
        ("/a/{x}.json", "/{y}/v{x}", False),
    ],
)
def test_only_where_neither_is_the_narrower_two_templates_are_ambiguous(one: str, two: str, expected: bool) -> None:
    assert ambiguous(parse_template(one), parse_template(two)) is expected
    assert ambiguous(parse_template(two), parse_template(one)) is expected


def test_a_second_websocket_or_mount_at_a_path_is_refused() -> None:
    async def socket(websocket: WebSocket) -> None:
        raise AssertionError

    app, mounted = App(), App()
    app.websocket("/ws")(socket)
    app.mount("/admin", mounted)

    with pytest.raises(CompileError, match="WebSocket /ws is claimed twice"):
        app.websocket("/ws")(socket)
    with pytest.raises(CompileError, match="mount '/admin' is there already"):
        app.mount("/admin/", mounted)
