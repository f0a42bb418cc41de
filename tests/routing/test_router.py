import functools
from typing import Any

import pytest
from msgspec import Struct

from fastlane import App, CallNext, CompileError, Depends, FrozenAppError, Request, Response, Router
from fastlane.testing import TestClient


async def ping() -> str:
    return "pong"


def test_a_router_puts_its_prefix_before_every_path() -> None:
    app = App()
    router = Router("/posts")
    router.get("")(ping)
    router.get("/")(ping)
    app.include(router, "/v1")

    assert [route.path for route in app.routes] == ["/v1/posts", "/v1/posts/"]


def test_routers_nest_and_their_prefixes_may_have_variables() -> None:
    app = App()
    posts = Router("/posts")

    @posts.get("/{id}")
    async def get_post(user_id: int, id: int) -> list[int]:
        return [user_id, id]

    users = Router("/users/{user_id}")
    users.include(posts)
    app.include(users, "/v1")

    with TestClient(app) as client:
        assert client.get("/v1/users/3/posts/4").json() == [3, 4]


def test_a_route_added_after_the_inclusion_counts() -> None:
    app = App()
    outer, inner = Router("/outer"), Router("/inner")
    outer.include(inner)
    app.include(outer)
    inner.get("/late")(ping)

    with TestClient(app) as client:
        assert client.get("/outer/inner/late").text == "pong"


def test_a_router_can_be_included_at_several_places() -> None:
    app = App()
    router = Router()
    router.get("/ping")(ping)
    app.include(router, "/a")
    app.include(router, "/b")

    with TestClient(app) as client:
        assert client.get("/a/ping").text == client.get("/b/ping").text == "pong"


def test_tags_dependencies_and_middleware_add_up_from_the_outside_in() -> None:
    order: list[str] = []

    def noting(name: str) -> Any:
        def depend() -> None:
            order.append(name)

        return Depends(depend, inline=True)

    def layer(name: str) -> Any:
        async def middleware(request: Request, call_next: CallNext) -> Response[Any]:
            order.append(name)
            return await call_next(request)

        return middleware

    app = App(dependencies=[noting("app")], middleware=[layer("app m")])
    router = Router(tags=["r"], dependencies=[noting("router")], middleware=[layer("router m")])
    app.include(router, tags=["included"])
    router.get("/", tags=["own", "r"], summary="Ping", dependencies=[noting("route")], middleware=[layer("route m")])(
        ping
    )
    router.middleware(layer("late m"))

    with TestClient(app) as client:
        client.get("/")

    assert order == ["app m", "router m", "late m", "route m", "app", "router", "route"]
    assert app.routes[0].tags == ("included", "r", "own")
    assert app.routes[0].summary == "Ping"


def test_methods_partials_and_objects_are_handlers() -> None:
    class Counter:
        async def show(self, id: int) -> int:
            return id

        async def __call__(self, q: str) -> str:
            return q

    async def add(a: int, b: int) -> int:
        return a + b

    counter = Counter()
    app = App()
    app.get("/{id}")(counter.show)
    app.get("/call/")(counter)
    app.get("/add/")(functools.partial(add, b=2))

    with TestClient(app) as client:
        assert client.get("/3").json() == 3
        assert client.get("/call/?q=x").text == "x"
        assert client.get("/add/?a=1").json() == 3
    assert [route.name for route in app.routes] == ["show", "Counter", "add"]


def test_an_error_of_a_partial_points_to_its_function() -> None:
    with pytest.raises(CompileError) as caught:
        App().get("/", status=99)(functools.partial(ping))

    assert (caught.value.handler, caught.value.line) == ("ping", ping.__code__.co_firstlineno)


def test_every_method_has_a_decorator() -> None:
    app = App()
    for method in ("get", "post", "put", "patch", "delete", "head", "options"):
        getattr(app, method)("/x")(ping)
    app.route("/y", ["get", "POST", "GET"])(ping)

    assert [route.methods for route in app.routes] == [
        *[(method,) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")],
        ("GET", "POST"),
    ]


def test_a_decorator_returns_the_handler() -> None:
    assert App().get("/")(ping) is ping


def test_a_method_of_ones_own_is_routed() -> None:
    app = App()
    app.route("/cache", ["PURGE"])(ping)

    with TestClient(app) as client:
        assert client.request("PURGE", "/cache").text == "pong"
        assert client.get("/cache").headers["allow"] == "OPTIONS, PURGE"


@pytest.mark.parametrize(
    ("options", "problem", "mend"),
    [
        ({"status_code": 201}, "no option 'status_code'", "`status=`"),
        ({"response_model": int}, "no option 'response_model'", "return type"),
        ({"colour": "red"}, "no option 'colour'", "the options are status, produces"),
        ({"status": 99}, "status=99", "200 to 599"),
        ({"dependencies": [ping]}, "ping is no Depends", "Depends(ping)"),
        ({"status": "201"}, "status='201' is no number", "status=201"),
        ({"status": True}, "status=True is no number", "status=201"),
        ({"tags": "posts"}, "tags='posts' is no list", 'tags=["posts"]'),
        ({"max_body": "1MB"}, "max_body='1MB' is no number of bytes", "max_body="),
        ({"name": 3}, "name=3 is no text", 'name="'),
        ({"middleware": [ping]}, "does not take (request, call_next)", "async def m"),
    ],
)
def test_a_wrong_option_is_an_error_with_ours(options: Any, problem: str, mend: str) -> None:
    with pytest.raises(CompileError) as caught:
        App().get("/", **options)(ping)

    assert problem in str(caught.value)
    assert mend in caught.value.mend


def test_an_error_names_file_line_and_handler() -> None:
    with pytest.raises(CompileError) as caught:
        App().get("/", status=99)(ping)

    assert caught.value.file == __file__
    assert caught.value.line == ping.__code__.co_firstlineno
    assert caught.value.handler == "ping"


@pytest.mark.parametrize(
    ("methods", "problem"), [(["G ET"], "is no method"), (["É"], "is no method"), ([], "no methods")]
)
def test_methods_are_tokens(methods: list[str], problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        App().route("/", methods)(ping)


@pytest.mark.parametrize("prefix", ["posts", "/posts/", "/"])
def test_a_prefix_starts_with_a_slash_and_ends_without(prefix: str) -> None:
    with pytest.raises(CompileError, match="start with a slash"):
        Router(prefix)


def test_a_bad_path_is_refused_before_the_router_is_included() -> None:
    with pytest.raises(CompileError, match="annotate the parameter"):
        Router("/posts").get("/{id:int}")(ping)


def test_a_bad_handler_is_refused_where_its_router_is_included() -> None:
    router = Router()

    @router.get("/")
    async def handler(unannotated) -> str:  # type: ignore[no-untyped-def]
        raise AssertionError

    with pytest.raises(CompileError, match="unannotated"):
        App().include(router)


def test_a_router_can_not_contain_itself() -> None:
    outer, inner = Router(), Router()
    outer.include(inner)

    for router in (outer, inner):
        with pytest.raises(CompileError, match="contain itself"):
            inner.include(router)


def test_only_routers_are_included() -> None:
    with pytest.raises(CompileError, match="no Router"):
        App().include(ping)  # type: ignore[arg-type]
    with pytest.raises(CompileError, match="no part of another"):
        App().include(App())
    with pytest.raises(CompileError, match="no part of another"):
        Router().include(App())


def test_nothing_is_added_to_what_is_frozen() -> None:
    app = App()
    router = Router()
    app.include(router)
    app.freeze()

    async def middleware(request: Request, call_next: CallNext) -> Response[Any]:
        raise AssertionError

    for add in (
        lambda: app.get("/x")(ping),
        lambda: router.get("/x")(ping),
        lambda: app.include(Router()),
        lambda: router.include(Router()),
        lambda: router.middleware(middleware),
        lambda: app.mount("/x", app),
        lambda: app.exception_handler(KeyError)(ping),
        lambda: app.add_asgi_middleware(App),
        lambda: app.readiness(ping),
    ):
        with pytest.raises(FrozenAppError):
            add()


def test_annotations_may_name_locals_of_the_caller() -> None:
    import msgspec

    class Local(msgspec.Struct):
        x: int

    app = App()

    @app.post("/")
    async def echo(body: "Local") -> "Local":
        return body

    with TestClient(app) as client:
        assert client.post("/", json={"x": 1}).json() == {"x": 1}


def test_a_decorator_without_its_path_says_so() -> None:
    with pytest.raises(CompileError, match="is no text") as caught:
        App().get(ping)  # type: ignore[arg-type]

    assert caught.value.mend == 'write `@app.get("/path")`'
    assert caught.value.handler == "ping"


def test_a_decorator_of_ones_own_may_stand_between_a_nested_handler_and_ours() -> None:
    app = App()

    def fetch(path: str) -> Any:
        def decorate(handler: Any) -> Any:
            return app.get(path)(handler)

        return decorate

    class Local(Struct):
        value: int = 0

    @fetch("/local")
    async def local(given: "Local") -> "Local":
        return given

    with TestClient(app) as client:
        assert client.get("/local?value=3").json() == {"value": 3}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("include_router", r"include\(router\)"), ("add_middleware", "add_asgi_middleware"), ("on_event", "lifespan=")],
)
def test_a_method_of_another_framework_is_answered_with_ours(theirs: str, ours: str) -> None:
    with pytest.raises(AttributeError, match=f"Router has no '{theirs}': write .*{ours}"):
        getattr(Router(), theirs)


def test_an_attribute_that_nobody_has_is_missing_as_usual() -> None:
    assert not hasattr(Router(), "nothing")
