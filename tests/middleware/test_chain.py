import asyncio
from typing import Any

import pytest

from fastlane.endpoint import BodyRule, Endpoint
from fastlane.errors import CompileError, NotFound
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.middleware.chain import CallNext, check_middleware, respond, wrap_endpoint
from fastlane.middleware.failures import FailureHandlers
from tests.requests import make_request


def run(endpoint: Endpoint) -> Response[Any]:
    assert endpoint.suspends
    return asyncio.run(endpoint.call(make_request()))  # type: ignore[arg-type]


def endpoint(call: Any, *, suspends: bool = False) -> Endpoint:
    return Endpoint(call, suspends=suspends, status=201, headers=((b"x-own", b"1"),))


async def named(request: Request, call_next: CallNext) -> Response[Any]:
    response = await call_next(request)
    response.headers["x-named"] = "yes"
    return response


def test_without_middleware_the_endpoint_stays_as_it_is() -> None:
    bare = endpoint(lambda request: b"")

    assert wrap_endpoint(bare, (), FailureHandlers()) is bare


def test_an_asgi_endpoint_stays_as_it_is() -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        raise AssertionError

    bare = Endpoint(lambda request: b"", suspends=False, asgi=application)

    assert wrap_endpoint(bare, (named,), FailureHandlers()) is bare


def test_bytes_become_a_response_with_the_endpoints_status_and_headers() -> None:
    response = run(wrap_endpoint(endpoint(lambda request: b"body"), (named,), FailureHandlers()))

    assert (response.status, response.body) == (201, b"body")
    assert response.raw_headers == [(b"x-own", b"1"), (b"x-named", b"yes")]


def test_headers_of_one_answer_do_not_stay_on_the_endpoint() -> None:
    wrapped = wrap_endpoint(endpoint(lambda request: b""), (named,), FailureHandlers())

    run(wrapped)

    assert wrapped.headers == ((b"x-own", b"1"),)


def test_a_suspending_endpoint_is_awaited() -> None:
    async def call(request: Request) -> bytes:
        await asyncio.sleep(0)
        return b"later"

    assert run(wrap_endpoint(endpoint(call, suspends=True), (named,), FailureHandlers())).body == b"later"


def test_the_first_middleware_is_the_outermost() -> None:
    order: list[str] = []

    def layer(name: str) -> Any:
        async def middleware(request: Request, call_next: CallNext) -> Response[Any]:
            order.append(f"{name} in")
            response = await call_next(request)
            order.append(f"{name} out")
            return response

        return middleware

    run(wrap_endpoint(endpoint(lambda request: b""), (layer("a"), layer("b")), FailureHandlers()))

    assert order == ["a in", "b in", "b out", "a out"]


def test_an_exception_below_is_a_response_above() -> None:
    def call(request: Request) -> bytes:
        raise NotFound("no post 3")

    response = run(wrap_endpoint(endpoint(call), (named,), FailureHandlers()))

    assert response.status == 404
    assert response.headers["x-named"] == "yes"


def test_an_exception_of_a_middleware_is_a_response_above_it() -> None:
    async def refusing(request: Request, call_next: CallNext) -> Response[Any]:
        raise NotFound

    response = run(wrap_endpoint(endpoint(lambda request: b""), (named, refusing), FailureHandlers()))

    assert (response.status, response.headers["x-named"]) == (404, "yes")


def test_an_async_exception_handler_is_awaited_in_the_chain() -> None:
    failures = FailureHandlers()

    async def handler(request: Request, error: KeyError) -> Response[str]:
        await asyncio.sleep(0)
        return Response("handled", 418)

    failures.add(KeyError, handler)

    def call(request: Request) -> bytes:
        raise KeyError

    assert run(wrap_endpoint(endpoint(call), (named,), failures)).status == 418


def test_a_middleware_that_answers_nothing_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def forgetful(request: Request, call_next: CallNext) -> Any:
        await call_next(request)

    response = run(wrap_endpoint(endpoint(lambda request: b""), (forgetful,), FailureHandlers()))

    assert response.status == 500
    assert "must return a Response, got NoneType" in caplog.text


def test_what_a_door_must_know_is_kept() -> None:
    rule = BodyRule(None, 10)
    bare = Endpoint(lambda request: b"", suspends=False, body=rule, route="route", source="source")

    wrapped = wrap_endpoint(bare, (named,), FailureHandlers())

    assert (wrapped.body, wrapped.route, wrapped.source, wrapped.needs_request) == (rule, "route", "source", True)


def test_a_response_is_passed_on_as_it_is() -> None:
    response = Response("x")

    assert respond(endpoint(lambda request: b""), response) is response


def test_an_object_with_an_async_call_is_middleware() -> None:
    class Counting:
        async def __call__(self, request: Request, call_next: CallNext) -> Response[Any]:
            return await call_next(request)

    check_middleware(Counting())


class ASGIStyle:
    def __init__(self, app: object) -> None: ...


def plain(request: Request, call_next: CallNext) -> Response[Any]:
    raise AssertionError


async def lonely(request: Request) -> Response[Any]:
    raise AssertionError


@pytest.mark.parametrize(
    ("middleware", "problem", "mend"),
    [
        (ASGIStyle, "is a class", "app.add_asgi_middleware(ASGIStyle, …)"),
        (plain, "no async function", "async def m(request, call_next)"),
        (lonely, "does not take (request, call_next)", "async def m(request, call_next)"),
        (3, "no async function", "async def"),
    ],
)
def test_what_is_no_middleware_is_refused_with_a_mend(middleware: Any, problem: str, mend: str) -> None:
    with pytest.raises(CompileError) as caught:
        check_middleware(middleware)

    assert problem in caught.value.problem
    assert mend in caught.value.mend


def test_a_kind_of_middleware_is_no_middleware() -> None:
    with pytest.raises(CompileError, match="without an argument"):
        check_middleware("http")  # type: ignore[arg-type]
