"""Every exception of fastlane, in one tree.

    FastlaneError
    ├── CompileError              a declaration that can't be compiled (import time); also a TypeError
    ├── ConfigurationError        an option or a configuration that can't be used (boot time); also a ValueError
    ├── FrozenAppError            a route added to an app that already serves; also a RuntimeError
    └── HTTPError                 an answer to a client, as RFC 9457 problem details
        ├── BadRequest            400 bad_request           bytes that are no HTTP, no JSON, no UTF-8
        ├── Unauthenticated       401 unauthenticated
        ├── PermissionDenied      403 permission_denied
        ├── NotFound              404 not_found
        ├── MethodNotAllowed      405 method_not_allowed
        ├── RequestTimeout        408 request_timeout
        ├── AlreadyExists         409 already_exists
        ├── Aborted               409 aborted
        ├── ContentTooLarge       413 content_too_large
        ├── URITooLong            414 uri_too_long
        ├── UnsupportedMediaType  415 unsupported_media_type
        ├── ExpectationFailed     417 expectation_failed
        ├── InvalidArgument       422 invalid_argument      well-formed, but not what the schema says
        ├── FailedPrecondition    400 failed_precondition
        ├── OutOfRange            400 out_of_range
        ├── ResourceExhausted     429 resource_exhausted
        ├── HeadersTooLarge       431 headers_too_large
        ├── Canceled              499 canceled
        ├── Internal              500 internal
        ├── Unknown               500 unknown
        ├── DataLoss              500 data_loss
        ├── Unimplemented         501 unimplemented
        ├── Unavailable           503 unavailable
        ├── DeadlineExceeded      504 deadline_exceeded
        └── VersionNotSupported   505 version_not_supported

The codes are gRPC's canonical ones, and the transport statuses that they lack. None of the classes inherits from a
child of ``OSError``, so that ``except OSError`` around a database call never catches an answer to a client.
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar, Literal, TypedDict

__all__ = [
    "CODES",
    "Aborted",
    "AlreadyExists",
    "BadRequest",
    "Canceled",
    "CompileError",
    "ConfigurationError",
    "ContentTooLarge",
    "DataLoss",
    "DeadlineExceeded",
    "ExpectationFailed",
    "FailedPrecondition",
    "FastlaneError",
    "FrozenAppError",
    "HTTPError",
    "HeadersTooLarge",
    "Internal",
    "InvalidArgument",
    "InvalidValue",
    "MethodNotAllowed",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "RequestTimeout",
    "ResourceExhausted",
    "URITooLong",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "UnsupportedMediaType",
    "VersionNotSupported",
]


CODES: dict[int, str] = {}
"""The default code of each status. The first class that names a status decides."""


class FastlaneError(Exception):
    """The root: catch it to catch everything that fastlane raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are made again from ``args`` by default, which is the text alone: a worker process that raised one
        # would break its pool.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed


class CompileError(FastlaneError, TypeError):
    """A handler, dependency or route that can't be compiled. Raised at import, so that no request ever meets it.

    Args:
        problem: what is wrong, one sentence without the place.
        mend: what to write instead, one sentence.
        handler: the qualified name of the function.
        parameter: the parameter's name, or None when the whole handler is meant.
        file, line: where the function is defined.

    A handler may have several mistakes: then this is the first of them, ``each`` has all, and so has the text.
    """

    def __init__(
        self,
        problem: str,
        *,
        mend: str,
        handler: str = "",
        parameter: str | None = None,
        file: str = "",
        line: int = 0,
    ) -> None:
        self.problem = problem
        self.mend = mend
        self.handler = handler
        self.parameter = parameter
        self.file = file
        self.line = line
        self._each: tuple[CompileError, ...] = ()
        super().__init__(problem)

    @classmethod
    def together(cls, errors: Sequence[CompileError]) -> CompileError:
        """One error for all of ``errors``, of which there is at least one."""
        first = errors[0]
        if len(errors) == 1:
            return first
        error = cls(
            first.problem,
            mend=first.mend,
            handler=first.handler,
            parameter=first.parameter,
            file=first.file,
            line=first.line,
        )
        error._each = tuple(errors)
        return error

    @property
    def each(self) -> tuple[CompileError, ...]:
        """The mistakes one by one; of a single one, itself."""
        return self._each or (self,)

    def __str__(self) -> str:
        if self._each:
            return "\n".join(map(str, self._each))
        place = f"{self.file}:{self.line}: " if self.file else ""
        where = f"handler {self.handler!r}" if self.handler else ""
        if self.parameter is not None:
            where += f"{', ' if where else ''}parameter {self.parameter!r}"
        return f"{place}{where}{': ' if where else ''}{self.problem}\n    mend: {self.mend}"


class ConfigurationError(FastlaneError, ValueError):
    """An option or a configuration file that can't be used. Raised at boot, before a socket is opened."""


class FrozenAppError(FastlaneError, RuntimeError):
    """Something was added to an app that is frozen: it serves requests, or its lifespan has begun."""


InvalidValue = TypedDict(
    "InvalidValue",
    {"in": Literal["path", "query", "header", "cookie", "form", "body"], "path": str, "message": str},
)
"""One wrong value of a request, as it stands in ``errors`` of a problem document.

``in`` is where the value came from, ``path`` its name on the wire (``tags[1].name`` inside a body).
"""


class HTTPError(FastlaneError):
    """An answer to the client, rendered as ``application/problem+json`` (RFC 9457).

    Args:
        status: the HTTP status, 400 to 599.
        detail: one sentence for the client about this occurrence. It is sent as it is: put nothing secret in it.
        code: the stable, machine-readable code. Default: the code of the status.
        headers: extra response headers, such as ``{"retry-after": "30"}``.
        **extensions: further members of the problem document.

    Example:
        >>> raise HTTPError(409, "the slug is taken", code="slug_taken", slug="hello")
    """

    status: int = 500
    code: str = "internal"

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **extensions: object,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError: status must be from 400 to 599, got {status}")
        self.status = status
        self.detail = detail
        self.code = code if code is not None else CODES.get(status, "unknown")
        self.headers = headers
        self.extensions = extensions
        super().__init__(detail)

    @property
    def title(self) -> str:
        """The status's reason phrase (RFC 9110 15)."""
        return REASONS.get(self.status, "Error")

    def problem(self) -> dict[str, object]:
        """The problem document, ready to be encoded. Extensions never replace the five members of RFC 9457."""
        return {
            **self.extensions,
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            **({"detail": self.detail} if self.detail else {}),
        }


class _CodedError(HTTPError):
    """An HTTPError whose class decides status and code, so that it is raised with the detail alone."""

    code_of_class: ClassVar[str]
    status_of_class: ClassVar[int]

    def __init_subclass__(cls, *, status: int = 0, code: str = "") -> None:
        if status:
            cls.status_of_class = cls.status = status
            cls.code_of_class = cls.code = code
            CODES.setdefault(status, code)

    def __init__(
        self, detail: str = "", *, code: str | None = None, headers: dict[str, str] | None = None, **extensions: object
    ) -> None:
        super().__init__(self.status_of_class, detail, code=code or self.code_of_class, headers=headers, **extensions)


# The standard library of 3.11 and 3.12 still has the reason phrases of RFC 7231.
REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    499: "Client Closed Request",
}


class BadRequest(_CodedError, status=400, code="bad_request"):
    """The bytes can't be understood: broken HTTP, JSON, UTF-8 or nesting."""


class Unauthenticated(_CodedError, status=401, code="unauthenticated"):
    """Nobody knows who is asking. Give ``headers={"www-authenticate": …}`` (RFC 9110 11.6.1)."""


class PermissionDenied(_CodedError, status=403, code="permission_denied"):
    """It is known who is asking, and they may not."""


class NotFound(_CodedError, status=404, code="not_found"):
    """There is no such thing."""


class MethodNotAllowed(_CodedError, status=405, code="method_not_allowed"):
    """The path exists, but not with this method. Carries ``Allow`` (RFC 9110 15.5.6)."""


class RequestTimeout(_CodedError, status=408, code="request_timeout"):
    """The request did not arrive in time."""


class AlreadyExists(_CodedError, status=409, code="already_exists"):
    """What should be created is there already."""


class Aborted(_CodedError, status=409, code="aborted"):
    """A conflict with something concurrent; trying again may help."""


class ContentTooLarge(_CodedError, status=413, code="content_too_large"):
    """The body is over its limit."""


class URITooLong(_CodedError, status=414, code="uri_too_long"):
    """The request line is over its limit."""


class UnsupportedMediaType(_CodedError, status=415, code="unsupported_media_type"):
    """The body's Content-Type is missing, or none that the route reads."""


class ExpectationFailed(_CodedError, status=417, code="expectation_failed"):
    """An ``Expect`` other than ``100-continue``."""


class InvalidArgument(_CodedError, status=422, code="invalid_argument"):
    """Well-formed, but not what the schema says. ``errors`` lists every wrong value."""


class FailedPrecondition(_CodedError, status=400, code="failed_precondition"):
    """The system is not in the state that this needs."""


class OutOfRange(_CodedError, status=400, code="out_of_range"):
    """Past the end of what there is."""


class ResourceExhausted(_CodedError, status=429, code="resource_exhausted"):
    """A quota or rate is used up."""


class HeadersTooLarge(_CodedError, status=431, code="headers_too_large"):
    """The head is over its limit, in bytes or in fields."""


class Canceled(_CodedError, status=499, code="canceled"):
    """The client gave up."""


class Internal(_CodedError, status=500, code="internal"):
    """A fault of ours."""


class Unknown(_CodedError, status=500, code="unknown"):
    """A fault of somebody else's that can't be told more exactly."""


class DataLoss(_CodedError, status=500, code="data_loss"):
    """Data is lost or damaged beyond repair."""


class Unimplemented(_CodedError, status=501, code="unimplemented"):
    """Not here, not yet."""


class Unavailable(_CodedError, status=503, code="unavailable"):
    """Not now. Give ``headers={"retry-after": …}`` when you know when."""


class DeadlineExceeded(_CodedError, status=504, code="deadline_exceeded"):
    """Something that this needed did not answer in time."""


class VersionNotSupported(_CodedError, status=505, code="version_not_supported"):
    """An HTTP version other than 1.0 and 1.1."""
