"""Dependencies: flattened at import, shared once a request, closed in reverse order, never inside the binding's try."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from msgspec import Struct

from fastlane.compiler import Environment, RouteSpec, WorkerThreads, open_singletons, read_handler
from fastlane.errors import CompileError, InvalidArgument, PermissionDenied, Unauthenticated
from fastlane.params import Body, Depends, Header, Query, State
from tests.compiler.requests import answer, compiled, errors

LOOP_THREAD = threading.current_thread()


class Post(Struct):
    title: str


@pytest.fixture
def log() -> list[str]:
    return []


def in_worker() -> bool:
    return threading.current_thread() is not LOOP_THREAD


# ---------------------------------------------------------------- kinds


def test_every_kind_of_dependency_is_called_where_it_belongs() -> None:
    async def coroutine(a: int) -> list[Any]:
        return [a, in_worker()]

    async def awaits(b: int) -> list[Any]:
        await asyncio.sleep(0)
        return [b, in_worker()]

    def plain(c: int) -> list[Any]:
        return [c, in_worker()]

    def quick(d: int) -> list[Any]:
        return [d, in_worker()]

    class Pagination:
        def __init__(self, page: int = 1) -> None:
            self.page = page
            self.worker = in_worker()

    class Callable_:
        async def __call__(self, e: int) -> int:
            return e

    async def handler(
        a: Annotated[list[Any], Depends(coroutine)],
        b: Annotated[list[Any], Depends(awaits)],
        c: Annotated[list[Any], Depends(plain)],
        d: Annotated[list[Any], Depends(quick, inline=True)],
        page: Annotated[Pagination, Depends(Pagination)],
        e: Annotated[int, Depends(Callable_())],
        f: Annotated[int, Depends(functools.partial(plain, 9))],
    ) -> list[Any]:
        return [a, b, c, d, page.page, page.worker, e, f]

    found = answer(compiled(handler), query="a=1&b=2&c=3&d=4&page=5&e=6")
    assert msgspec.json.decode(found) == [[1, False], [2, False], [3, True], [4, False], 5, False, 6, [9, True]]


def test_routes_whose_calls_cannot_suspend_answer_at_once() -> None:
    async def user(token: Annotated[str, Header()]) -> str:
        return token

    def page(page: int = 1) -> int:
        return page

    async def handler(
        user: Annotated[str, Depends(user)], page: Annotated[int, Depends(page, inline=True)]
    ) -> list[Any]:
        return [user, page]

    endpoint = compiled(handler)
    assert not endpoint.suspends
    assert answer(endpoint, headers={"token": "t"}) == b'["t",1]'


def test_a_plain_handler_runs_in_a_worker_thread_unless_it_is_inline() -> None:
    def handler() -> bool:
        return in_worker()

    assert compiled(handler).suspends
    assert answer(compiled(handler)) == b"true"
    assert not compiled(handler, inline=True).suspends
    assert answer(compiled(handler, inline=True)) == b"false"


def test_nested_dependencies_are_shared_once_a_request(log: list[str]) -> None:
    def connection() -> str:
        log.append("connection")
        return "c"

    def user(connection: Annotated[str, Depends(connection)]) -> str:
        log.append("user")
        return f"u{connection}"

    async def handler(
        user: Annotated[str, Depends(user)],
        connection: Annotated[str, Depends(connection)],
        again: Annotated[str, Depends(connection, inline=True)],
    ) -> list[str]:
        return [user, connection, again]

    endpoint = compiled(handler)
    assert answer(endpoint) == b'["uc","c","c"]'
    assert log == ["connection", "user"]
    answer(endpoint)
    assert log == ["connection", "user"] * 2


def test_route_dependencies_run_first_and_need_no_value(log: list[str]) -> None:
    async def first() -> None:
        log.append("first")

    def second(x: int) -> None:
        log.append(f"second {x}")

    def third() -> Iterator[None]:
        log.append("third")
        yield
        log.append("closed")

    async def handler() -> str:
        log.append("handler")
        return "ok"

    endpoint = compiled(handler, dependencies=(Depends(first), Depends(second), Depends(third)))
    assert answer(endpoint, query="x=1").strip(b'"') == b"ok"
    assert log == ["first", "second 1", "third", "handler", "closed"]


def test_plain_dependencies_and_a_plain_handler_make_one_trip() -> None:
    trips = 0

    class Counting(WorkerThreads):
        async def run(self, function: Any) -> Any:
            nonlocal trips
            trips += 1
            return await super().run(function)

    def one() -> int:
        return threading.get_ident()

    def two(one: Annotated[int, Depends(one)]) -> list[int]:
        return [one, threading.get_ident()]

    def handler(two: Annotated[list[int], Depends(two)]) -> bool:
        return {*two} == {threading.get_ident()}

    async def on_the_loop(two: Annotated[list[int], Depends(two)]) -> bool:
        return len({*two}) == 1

    environment = Environment(threads=Counting())
    assert answer(compiled(handler, environment=environment)) == b"true"
    assert trips == 1
    assert answer(compiled(on_the_loop, environment=environment)) == b"true"
    assert trips == 2


def test_context_variables_go_into_the_thread_and_come_back() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def sets() -> None:
        variable.set("loop")

    def reads_and_sets() -> str:
        seen = variable.get()
        variable.set("thread")
        return seen

    async def handler(none: Annotated[None, Depends(sets)], seen: Annotated[str, Depends(reads_and_sets)]) -> list[str]:
        return [seen, variable.get()]

    assert answer(compiled(handler)) == b'["loop","thread"]'


# ---------------------------------------------------------------- order and errors


def test_a_401_comes_before_a_422_of_the_handlers_values_and_body() -> None:
    async def user(authorization: Annotated[str | None, Header()] = None) -> str:
        if authorization is None:
            raise Unauthenticated("who are you?")
        return authorization

    async def handler(post: Post, page: int, user: Annotated[str, Depends(user)]) -> str:
        return user

    endpoint = compiled(handler, methods="POST")
    with pytest.raises(Unauthenticated):
        answer(endpoint, query="page=x", body=b"not json")
    with pytest.raises(PermissionDenied):
        answer(compiled(handler, methods="POST", dependencies=(Depends(forbid),)), body=b"not json")
    assert [(source, path) for source, path, _ in errors(endpoint, headers={"authorization": "me"}, body=b"{}")] == [
        ("body", "title"),
        ("query", "page"),
    ]


def forbid() -> None:
    raise PermissionDenied("no")


def test_wrong_values_of_a_dependency_are_reported_with_the_handlers() -> None:
    async def page(n: int) -> int:
        return n

    async def handler(page: Annotated[int, Depends(page)], id: int) -> None: ...

    assert errors(compiled(handler, "/{id}"), query="n=x", values=("y",)) == [
        ("query", "n", "Expected `int`, got `str`"),
        ("path", "id", "Expected `int`, got `str`"),
    ]


@pytest.mark.parametrize("where", ["handler", "dependency", "plain dependency"])
def test_a_validation_error_of_user_code_is_none_of_the_clients(where: str) -> None:
    def convert() -> int:
        return msgspec.convert("x", int)

    async def aconvert() -> int:
        return convert()

    async def handler(n: int) -> int:
        return n if where != "handler" else convert()

    async def depending(value: Annotated[int, Depends(aconvert if where == "dependency" else convert)], n: int) -> int:
        return value

    with pytest.raises(msgspec.ValidationError):
        answer(compiled(handler if where == "handler" else depending), query="n=1")


# ---------------------------------------------------------------- yield


def generators(log: list[str]) -> dict[str, Any]:
    def sync(name: str) -> Any:
        def generator() -> Iterator[str]:
            log.append(f"open {name}")
            try:
                yield name
            except BaseException as error:
                log.append(f"{name} got {type(error).__name__}")
                raise
            log.append(f"close {name}")

        return generator

    def asynchronous(name: str) -> Any:
        async def generator() -> AsyncIterator[str]:
            log.append(f"open {name}")
            await asyncio.sleep(0)
            try:
                yield name
            except BaseException as error:
                log.append(f"{name} got {type(error).__name__}")
                raise
            await asyncio.sleep(0)
            log.append(f"close {name}")

        return generator

    return {"sync": sync, "async": asynchronous}


KINDS = ["sync", "async", "inline"]


def chain(log: list[str], kinds: tuple[str, str, str]) -> list[Depends]:
    make = generators(log)
    return [
        Depends(make["async" if kind == "async" else "sync"](name), inline=kind == "inline")
        for name, kind in zip("abc", kinds, strict=True)
    ]


@pytest.mark.parametrize("handler_kind", ["async", "def", "inline"])
@pytest.mark.parametrize(
    "kinds",
    [(a, b, c) for a in KINDS for b in KINDS for c in KINDS],
    ids=lambda kinds: "-".join(kinds),
)
def test_generators_close_in_reverse_order_whatever_their_kinds(
    log: list[str], kinds: tuple[str, str, str], handler_kind: str
) -> None:
    a, b, c = chain(log, kinds)
    mode = "answer"

    def work(x: str, y: str, z: str) -> str:
        log.append("handler")
        if mode == "raise":
            raise KeyError("handler")
        return x + y + z

    async def ahandler(x: Annotated[str, a], y: Annotated[str, b], z: Annotated[str, c]) -> str:
        return work(x, y, z)

    def handler(x: Annotated[str, a], y: Annotated[str, b], z: Annotated[str, c]) -> str:
        return work(x, y, z)

    endpoint = compiled(ahandler if handler_kind == "async" else handler, inline=handler_kind == "inline")
    assert answer(endpoint).strip(b'"') == b"abc"
    assert log == ["open a", "open b", "open c", "handler", "close c", "close b", "close a"]

    log.clear()
    mode = "raise"
    with pytest.raises(KeyError, match="handler"):
        answer(endpoint)
    assert log == ["open a", "open b", "open c", "handler", "c got KeyError", "b got KeyError", "a got KeyError"]


@pytest.mark.parametrize("kinds", [("sync", "sync", "sync"), ("sync", "async", "sync"), ("inline", "sync", "async")])
@pytest.mark.parametrize("handler_is_async", [True, False])
def test_a_dependency_that_fails_closes_those_before_it(
    log: list[str], kinds: tuple[str, str, str], handler_is_async: bool
) -> None:
    a, b, _ = chain(log, kinds)

    def fails(y: Annotated[str, b], n: int) -> str:
        raise KeyError("dependency")

    async def ahandler(x: Annotated[str, a], z: Annotated[str, Depends(fails)]) -> None: ...

    def handler(x: Annotated[str, a], z: Annotated[str, Depends(fails)]) -> None: ...

    endpoint = compiled(ahandler if handler_is_async else handler)
    with pytest.raises(KeyError):
        answer(endpoint, query="n=1")
    assert log == ["open a", "open b", "b got KeyError", "a got KeyError"]

    log.clear()
    with pytest.raises(InvalidArgument):
        answer(endpoint, query="n=x")
    assert log == ["open a", "open b", "b got InvalidArgument", "a got InvalidArgument"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_close_is_what_the_client_gets_and_is_thrown_into_the_others(log: list[str], kind: str) -> None:
    outer = Depends(generators(log)["sync"]("outer"))

    def sync_commit() -> Iterator[None]:
        yield
        raise ConnectionError("commit failed")

    async def async_commit() -> AsyncIterator[None]:
        yield
        raise ConnectionError("commit failed")

    commit = Depends(async_commit if kind == "async" else sync_commit, inline=kind == "inline")

    async def handler(a: Annotated[str, outer], b: Annotated[None, commit]) -> str:
        return "created"

    with pytest.raises(ConnectionError):
        answer(compiled(handler))
    assert log == ["open outer", "outer got ConnectionError"]


@pytest.mark.parametrize("kind", KINDS)
def test_generators_close_after_the_answer_is_encoded(kind: str) -> None:
    items = [1]

    def sync() -> Iterator[list[int]]:
        yield items
        items.clear()

    async def asynchronous() -> AsyncIterator[list[int]]:
        yield items
        items.clear()

    depends = Depends(asynchronous if kind == "async" else sync, inline=kind == "inline")

    async def handler(items: Annotated[list[int], depends]) -> list[int]:
        return items

    assert answer(compiled(handler)) == b"[1]"
    assert items == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_may_turn_the_exception_into_another_but_not_swallow_it(kind: str) -> None:
    def sync(swallow: bool) -> Iterator[None]:
        try:
            yield
        except KeyError:
            if not swallow:
                raise PermissionDenied("turned") from None

    async def asynchronous(swallow: bool) -> AsyncIterator[None]:
        try:
            yield
        except KeyError:
            if not swallow:
                raise PermissionDenied("turned") from None

    depends = Depends(asynchronous if kind == "async" else sync, inline=kind == "inline")

    async def handler(none: Annotated[None, depends]) -> None:
        raise KeyError("original")

    endpoint = compiled(handler)
    with pytest.raises(PermissionDenied, match="turned"):
        answer(endpoint, query="swallow=0")
    with pytest.raises(KeyError, match="original"):
        answer(endpoint, query="swallow=1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_that_does_not_yield_exactly_once_is_a_fault(kind: str) -> None:
    def sync(times: int) -> Iterator[int]:
        for _ in range(times):
            try:
                yield 1
            except KeyError:
                pass

    async def asynchronous(times: int) -> AsyncIterator[int]:
        for _ in range(times):
            try:
                yield 1
            except KeyError:
                pass

    depends = Depends(asynchronous if kind == "async" else sync, inline=kind == "inline")

    async def handler(n: Annotated[int, depends], fail: bool = False) -> int:
        if fail:
            raise KeyError
        return n

    endpoint = compiled(handler)
    assert answer(endpoint, query="times=1") == b"1"
    with pytest.raises(RuntimeError, match="did not yield"):
        answer(endpoint, query="times=0")
    with pytest.raises(RuntimeError, match="yielded more than once"):
        answer(endpoint, query="times=2")
    with pytest.raises(RuntimeError, match="yielded more than once"):
        answer(endpoint, query="times=2&fail=1")


# ---------------------------------------------------------------- overrides


def test_an_override_is_called_instead_and_binds_its_own_values() -> None:
    def database() -> str:
        raise AssertionError("the real one")

    async def fake(n: int) -> str:
        return f"fake {n}"

    async def handler(database: Annotated[str, Depends(database)]) -> str:
        return database

    endpoint = compiled(handler, environment=Environment(overrides={database: fake}))
    assert answer(endpoint, query="n=3").strip(b'"') == b"fake 3"


# ---------------------------------------------------------------- app scope and state


class Resources:
    def __init__(self, name: str) -> None:
        self.name = name


def test_app_scoped_dependencies_are_called_once_and_closed_in_reverse(log: list[str]) -> None:
    def settings() -> str:
        log.append(f"settings {in_worker()}")
        return "s"

    async def pool(
        settings: Annotated[str, Depends(settings, scope="app")], *, state: Annotated[Resources, State()]
    ) -> Any:
        log.append("open pool")
        yield f"pool {settings} {state.name}"
        log.append("close pool")

    def cache(pool: Annotated[str, Depends(pool, scope="app")]) -> Any:
        yield "cache"
        log.append(f"close cache {in_worker()}")

    def quick() -> Any:
        yield "quick"
        log.append("close quick")

    async def client(anything: Annotated[Any, State()]) -> str:
        return f"client {anything.name}"

    class Metrics:
        pass

    async def handler(
        cache: Annotated[str, Depends(cache, scope="app")],
        pool: Annotated[str, Depends(pool, scope="app")],
        quick: Annotated[str, Depends(quick, scope="app", inline=True)],
        client: Annotated[str, Depends(client, scope="app")],
        metrics: Annotated[Metrics, Depends(Metrics, scope="app")],
    ) -> list[str]:
        return [cache, pool, quick, client, type(metrics).__name__]

    environment = Environment()
    endpoint = compiled(handler, environment=environment)

    async def main() -> bytes:
        async with AsyncExitStack() as stack:
            singletons = await open_singletons(environment, Resources("r"), stack)
            endpoint_request = answer_request(singletons)
            return endpoint.call(endpoint_request)  # type: ignore[return-value]

    assert not endpoint.suspends
    assert asyncio.run(main()) == b'["cache","pool s r","quick","client r","Metrics"]'
    assert log == ["settings True", "open pool", "close quick", "close cache True", "close pool"]


def answer_request(singletons: Any) -> Any:
    from tests.compiler.requests import request

    return request(singletons=singletons)


def test_an_app_scoped_dependency_without_a_lifespan_is_named() -> None:
    def pool() -> str:
        return "p"

    async def handler(pool: Annotated[str, Depends(pool, scope="app")]) -> str:
        return pool

    with pytest.raises(RuntimeError, match="pool was not opened: the lifespan did not run"):
        answer(compiled(handler))


def test_state_is_what_the_lifespan_yielded() -> None:
    class Typed(TypedDict):
        name: str

    async def handler(state: Annotated[Resources, State()], anything: Annotated[Any, State]) -> str:
        return state.name if state is anything else ""

    async def typed(state: Annotated[Typed, State()]) -> str:
        return state["name"]

    assert answer(compiled(handler), state=Resources("r")).strip(b'"') == b"r"
    assert answer(compiled(typed), state={"name": "n"}).strip(b'"') == b"n"
    with pytest.raises(RuntimeError, match="asks for a Resources, but the lifespan yielded nothing"):
        answer(compiled(handler))
    with pytest.raises(RuntimeError, match="the lifespan yielded a dict"):
        answer(compiled(handler), state={})


# ---------------------------------------------------------------- import errors


def refused(handler: Any, **spec: Any) -> str:
    with pytest.raises(CompileError) as caught:
        read_handler(RouteSpec("/", handler, **spec))
    assert caught.value.file == __file__
    return caught.value.problem


def test_a_circle() -> None:
    def one(two: Any) -> None: ...

    def two(one: Annotated[Any, Depends(one)]) -> None: ...

    one.__annotations__["two"] = Annotated[Any, Depends(two)]

    async def handler(one: Annotated[Any, Depends(one)]) -> None: ...

    assert refused(handler) == "Depends(test_a_circle.<locals>.one) depends on itself"


def test_more_yielding_dependencies_than_python_can_nest() -> None:
    def make() -> Any:
        def generator() -> Iterator[None]:
            yield

        return generator

    async def handler(page: int) -> int:
        return page

    most = tuple(Depends(make(), inline=True) for _ in range(15))
    assert answer(compiled(handler, dependencies=most), query="page=1") == b"1"
    assert "16 of its dependencies yield" in refused(handler, dependencies=(*most, Depends(make())))


def test_what_is_not_callable() -> None:
    async def handler(x: Annotated[int, Depends(3)]) -> None: ...  # type: ignore[arg-type]

    assert refused(handler) == "Depends(3) is not callable"


def test_an_unknown_scope() -> None:
    async def handler(x: Annotated[int, Depends(forbid, scope="session")]) -> None: ...  # type: ignore[arg-type]

    assert "there is no such scope" in refused(handler)


def test_a_default_of_a_dependency() -> None:
    async def handler(x: Annotated[int, Depends(forbid)] = 1) -> None: ...

    assert refused(handler) == "a dependency can't have a default"


def test_depends_with_another_marker() -> None:
    async def handler(x: Annotated[int, Depends(forbid), Query()]) -> None: ...

    assert "several markers" in refused(handler)


def test_an_app_scoped_dependency_that_reads_the_request() -> None:
    def per_request(page: int) -> int:
        return page

    def uses_request_scope(x: Annotated[None, Depends(forbid)]) -> None: ...

    async def handler(x: Annotated[int, Depends(per_request, scope="app")]) -> None: ...

    async def other(x: Annotated[None, Depends(uses_request_scope, scope="app")]) -> None: ...

    assert "its parameter 'page' is of one request" in refused(handler)
    assert "its parameter 'x' is of one request" in refused(other)


def test_an_error_in_a_dependency_names_the_dependency() -> None:
    def bad(x: complex) -> None: ...

    async def handler(x: Annotated[None, Depends(bad)]) -> None: ...

    with pytest.raises(CompileError) as caught:
        read_handler(RouteSpec("/", handler))
    assert caught.value.handler == bad.__qualname__
    assert caught.value.parameter == "x"


def test_a_body_may_be_a_dependencys() -> None:
    async def parsed(post: Annotated[Post, Body()]) -> str:
        return post.title

    async def handler(title: Annotated[str, Depends(parsed)]) -> str:
        return title

    endpoint = compiled(handler, methods="POST")
    assert endpoint.body is not None
    assert answer(endpoint, body=b'{"title":"t"}').strip(b'"') == b"t"


class Paging(msgspec.Struct):
    limit: int = 1
    tags: list[str] = []


def test_a_struct_as_a_dependency_makes_its_own_defaults():
    async def show(paging: Annotated[Paging, Depends(Paging)]) -> Paging:
        paging.tags.append("x")
        return paging

    endpoint = compiled(show)
    for _ in range(2):
        assert answer(endpoint, query="limit=2") == b'{"limit":2,"tags":["x"]}'
    assert answer(endpoint, query="tags=a&tags=b") == b'{"limit":1,"tags":["a","b","x"]}'


def test_what_a_partial_has_bound_is_not_read_from_the_request():
    async def show(secret: str, database: object, n: int = 1) -> list[Any]:
        return [secret, database, n]

    endpoint = compiled(functools.partial(show, secret="s", database="d"))
    assert answer(endpoint, query="secret=other&n=2") == b'["s","d",2]'
    positional = compiled(functools.partial(show, "s", database="d"))
    assert answer(positional, query="secret=other") == b'["s","d",1]'


def test_a_partial_as_a_dependency_keeps_what_it_has_bound():
    def scale(by: int, n: int = 1) -> int:
        return by * n

    async def show(n: Annotated[int, Depends(functools.partial(scale, by=3), inline=True)]) -> int:
        return n

    assert answer(compiled(show), query="by=7&n=2") == b"6"


def test_state_that_may_be_none_is_handed_over_as_it_is():
    class Resources:
        number = 3

    async def show(resources: Annotated[Resources | None, State()]) -> int:
        return resources.number if resources else 0

    endpoint = compiled(show)
    assert answer(endpoint, state=Resources()) == b"3"
    assert answer(endpoint, state=None) == b"0"
