import asyncio
from typing import Any

import pytest

from fastlane.answer import answer_failure, answer_refusal, body_length, wire_headers
from fastlane.asgi import ScopeHead
from fastlane.endpoint import Endpoint
from fastlane.errors import BadRequest, ContentTooLarge, NotFound
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.middleware.chain import CallNext, wrap_endpoint
from fastlane.middleware.failures import FailureHandlers
from fastlane.routing import RouteTable
from tests.requests import make_request


def head(*headers: tuple[bytes, bytes], version: str = "1.1") -> ScopeHead:
    return ScopeHead({"path": "/", "headers": list(headers), "http_version": version})


@pytest.mark.parametrize(
    ("request_head", "length"),
    [
        (head(), 0),
        (head((b"content-length", b"12")), 12),
        (head((b"content-length", b"12"), (b"content-length", b"12")), 12),
        (head((b"transfer-encoding", b"chunked")), None),
        (head(version="2"), None),
        (head(version="1.0"), 0),
    ],
)
def test_the_length_of_a_body_is_known_or_none(request_head: ScopeHead, length: int | None) -> None:
    assert body_length(request_head) == length


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1,1", b"0x1"])
def test_a_length_that_is_no_number_is_a_bad_request(value: bytes) -> None:
    with pytest.raises(BadRequest):
        body_length(head((b"content-length", value)))


@pytest.mark.parametrize(("status", "length"), [(200, [b"2"]), (204, []), (304, []), (205, [b"0"])])
def test_a_length_is_sent_unless_the_status_forbids_it(status: int, length: list[bytes]) -> None:
    endpoint = Endpoint(lambda request: b"", suspends=False, status=status, headers=((b"x-a", b"1"),))

    headers = wire_headers(endpoint, b"ab")

    assert headers[0] == (b"x-a", b"1")
    assert [value for name, value in headers if name == b"content-length"] == length


def test_a_failure_is_answered_by_the_tables_handlers() -> None:
    table = RouteTable([], failures=FailureHandlers())

    response = answer_failure(table, make_request(), NotFound())

    assert isinstance(response, Response)
    assert response.status == 404


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_refusal_is_answered_inside_the_middleware_of_the_app(wrapped: bool) -> None:
    async def stamp(request: Request, call_next: CallNext) -> Response[Any]:
        response = await call_next(request)
        response.headers["x-stamp"] = "yes"
        return response

    failures = FailureHandlers()
    table = RouteTable(
        [], failures=failures, wrap=lambda endpoint: wrap_endpoint(endpoint, (stamp,) if wrapped else (), failures)
    )

    response = asyncio.run(answer_refusal(table, make_request(), ContentTooLarge("too large")))

    assert response.status == 413
    assert ("x-stamp" in response.headers) is wrapped
