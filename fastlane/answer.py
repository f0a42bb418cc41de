"""What both doors say, so that they say the same: results, refusals and failures."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from fastlane.endpoint import Endpoint
from fastlane.errors import BadRequest, ContentTooLarge, ExpectationFailed, HTTPError, UnsupportedMediaType
from fastlane.http.media import MSGPACK_TYPES, essence_of, is_read
from fastlane.http.response import Response
from fastlane.middleware.chain import respond, settle
from fastlane.middleware.failures import fault

if TYPE_CHECKING:
    from fastlane.endpoint import BodyRule
    from fastlane.http.request import Head, Request
    from fastlane.routing.table import RouteTable

__all__ = [
    "answer_failure",
    "answer_refusal",
    "answer_unsendable",
    "body_length",
    "check_expectation",
    "check_media_type",
    "check_response",
    "respond",
    "too_large",
    "wire_headers",
]


def answer_failure(table: RouteTable, request: Request, error: Exception) -> Response[Any] | Awaitable[Response[Any]]:
    """The answer to what an endpoint's call raised. Never raises, neither now nor when it is awaited."""
    return table.failure(request, error)


async def answer_refusal(table: RouteTable, request: Request, error: HTTPError) -> Response[Any]:
    """The answer to a request that a door refuses before it calls the endpoint, inside the app's middleware.

    So a 413 gets its CORS headers like any other answer. Never raises.
    """

    def refuse(request: Request) -> bytes:
        raise error

    endpoint = table.wrap(Endpoint(refuse, suspends=False))
    if not endpoint.suspends:
        return await settle(table.failure(request, error))
    result = endpoint.call(request)
    assert not isinstance(result, bytes | Response)
    return respond(endpoint, await result)


def check_response(response: Response[Any]) -> None:
    """Raises what keeps a response from being sent, before its first byte: content that nobody could encode, or a
    status that is none of an answer (after a 1xx a client would wait on, RFC 9110 15.2).
    """
    if not 200 <= response.status <= 599:
        raise ValueError(f"{response.status} is no status of an answer: use 200 to 599")
    if not response.streams and not response.is_encoded:
        response.wire_headers()


async def answer_unsendable(table: RouteTable, request: Request, error: Exception) -> Response[Any]:
    """What is sent instead of a response that ``check_response`` refuses. Never raises."""
    response = await settle(table.failure(request, error))
    try:
        check_response(response)
    except Exception as second:
        return fault(request, second)
    return response


def wire_headers(endpoint: Endpoint, body: bytes) -> list[tuple[bytes, bytes]]:
    """The response headers of a ``bytes`` result."""
    headers = list(endpoint.headers)
    if not endpoint.empty:
        headers.append((b"content-length", b"%d" % len(body)))
    elif endpoint.status == 205:
        headers.append((b"content-length", b"0"))  # RFC 9110 15.3.6: else a client waits for its end
    return headers


def body_length(head: Head) -> int | None:
    """What Content-Length says; 0 where there is neither it nor Transfer-Encoding, None where only reading tells.

    Raises:
        BadRequest: it says no number, or several (RFC 9110 8.6).
    """
    values = head.header_values(b"content-length")
    if not values:
        return None if head.header_values(b"transfer-encoding") or not head.http_version.startswith("1.") else 0
    if len(set(values)) > 1 or not values[0].isdigit():
        raise BadRequest("Content-Length is no number")
    return int(values[0])


def check_expectation(head: Head) -> None:
    """Raises ExpectationFailed for any expectation but ``100-continue`` (RFC 9110 10.1.1)."""
    values = head.header_values(b"expect")
    if values and [value.lower() for value in values] != [b"100-continue"]:
        raise ExpectationFailed("this server meets no expectation but 100-continue")


def check_media_type(head: Head, rule: BodyRule) -> None:
    """Notes on the head whether the body is MessagePack, so that a route need not look (18 ns against 150 and more).

    Raises:
        UnsupportedMediaType: the Content-Type is missing, doubled, or none that the route reads.
    """
    media_types = rule.media_types
    if media_types is None:
        return
    values = head.header_values(b"content-type")
    essence = essence_of(values[0]) if len(values) == 1 else ""
    if len(values) <= 1 and is_read(essence, media_types):
        head.is_msgpack = essence in MSGPACK_TYPES
        return
    came = f"is {essence[:100]!r}" if essence else "is missing" if not values else "stands more than once"
    wanted = ", ".join(sorted(filter(None, media_types), key=lambda essence: (essence != "application/json", essence)))
    raise UnsupportedMediaType(f"the Content-Type {came}; this route reads {wanted}")


def too_large(limit: int) -> ContentTooLarge:
    """The 413 of a body over ``limit`` bytes."""
    return ContentTooLarge(f"the body is larger than {limit} bytes")
