"""An answer, as a test looks at it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar, overload

import msgspec

from fastlane.errors import REASONS
from fastlane.http.headers import Headers
from fastlane.testing.cookies import CookieJar

__all__ = ["HTTPStatusError", "TestResponse"]

T = TypeVar("T")


class HTTPStatusError(AssertionError):
    """``raise_for_status`` of a response that is a 4xx or 5xx."""


class TestResponse:
    """Status, headers and the whole body.

    Attributes:
        status_code: also as ``status``.
        headers: case-insensitive; ``getlist`` for repeated ones.
        content: the body's octets.
        cookies: what this response set.
        method, url: of the request.
        history: the redirects that were followed to this response.
    """

    __test__ = False

    def __init__(self, method: str, url: str, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        self.method = method
        self.url = url
        self.status_code = self.status = status
        self.history: list[TestResponse] = []
        self.headers = Headers(headers)
        self.content = content
        self.cookies = CookieJar()
        self.cookies.store(self.headers.getlist("set-cookie"))

    @property
    def text(self) -> str:
        """The body, decoded as its charset says, else as UTF-8."""
        _, _, charset = self.headers.get("content-type", "").partition("charset=")
        return self.content.decode(charset.partition(";")[0].strip('" ') or "utf-8")

    @property
    def reason_phrase(self) -> str:
        if self.status in REASONS:
            return REASONS[self.status]
        return HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """It says where to go instead."""
        return self.status in (301, 302, 303, 307, 308) and "location" in self.headers

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:  # noqa: A002 - msgspec's word for it
        """The body as JSON; with a type, decoded and checked as one."""
        return msgspec.json.decode(self.content, type=type)

    def raise_for_status(self) -> TestResponse:
        """Raises HTTPStatusError, with the body, for a 4xx or 5xx."""
        if self.status >= 400:
            raise HTTPStatusError(f"{self.method} {self.url}: {self.status} {self.reason_phrase}\n{self.text}")
        return self

    def __repr__(self) -> str:
        return f"<TestResponse {self.status} {self.reason_phrase}>"
