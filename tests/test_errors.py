"""The exception tree."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from fastlane import WebSocketDisconnect, errors
from fastlane.errors import (
    CODES,
    BadRequest,
    CompileError,
    ConfigurationError,
    FastlaneError,
    FrozenAppError,
    HTTPError,
    InvalidArgument,
    NotFound,
    Unauthenticated,
)

CLASSES = [
    (name, cls)
    for name in errors.__all__
    if isinstance(cls := getattr(errors, name), type) and issubclass(cls, HTTPError) and cls is not HTTPError
]


def test_every_public_exception_is_a_fastlane_error():
    classes = [
        cls for name in errors.__all__ if isinstance(cls := getattr(errors, name), type) and issubclass(cls, Exception)
    ]

    assert all(issubclass(cls, FastlaneError) for cls in classes)
    assert issubclass(CompileError, TypeError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(FrozenAppError, RuntimeError)


@pytest.mark.parametrize(("name", "cls"), CLASSES)
def test_a_class_decides_its_status_and_code(name, cls):
    error = cls("why")

    assert 400 <= error.status <= 599
    assert error.code == cls.code
    assert (cls.status, cls.code) == (error.status, error.code)
    assert error.problem() == {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": "why",
    }
    assert str(error) == "why"
    assert not issubclass(cls, OSError)
    assert error.title != "Error"


def test_the_tree_is_drawn_as_it_is():
    drawn = (errors.__doc__ or "").split()

    for name, cls in CLASSES:
        position = drawn.index(name)
        assert drawn[position + 1 : position + 3] == [str(cls.status), cls.code]


def test_codes_are_grpc_s_and_the_transport_s():
    codes = {cls.code for _, cls in CLASSES}

    assert codes >= {
        "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
        "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
        "internal", "unavailable", "data_loss", "unauthenticated",
    }  # fmt: skip
    assert {405, 408, 413, 414, 415, 417, 431, 503, 505} <= set(CODES)
    assert len(codes) == len(CLASSES)


def test_a_status_has_the_code_of_the_first_class_that_names_it():
    assert HTTPError(400).code == "bad_request"
    assert HTTPError(409).code == "already_exists"
    assert HTTPError(500).code == "internal"
    assert HTTPError(418).code == "unknown"
    assert HTTPError(418).title == "I'm a Teapot"
    assert HTTPError(499).title == "Client Closed Request"
    assert HTTPError(599).title == "Error"


def test_the_reason_phrases_are_rfc_9110_s():
    assert [HTTPError(status).title for status in (413, 414, 416, 422)] == [
        "Content Too Large",
        "URI Too Long",
        "Range Not Satisfiable",
        "Unprocessable Content",
    ]


@pytest.mark.parametrize("status", [0, 200, 399, 600])
def test_a_success_is_no_error(status):
    with pytest.raises(ValueError, match="from 400 to 599"):
        HTTPError(status)


def test_extensions_stand_beside_the_five_members_and_never_replace_them():
    error = HTTPError(409, "taken", code="slug_taken", slug="hello", type="evil", title="evil")

    assert error.problem() == {
        "slug": "hello",
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "code": "slug_taken",
        "detail": "taken",
    }


def test_an_empty_detail_is_left_out():
    assert "detail" not in NotFound().problem()


def test_a_code_and_headers_of_its_own():
    error = Unauthenticated("no token", code="token_missing", headers={"www-authenticate": "Bearer"})

    assert (error.status, error.code, error.headers) == (401, "token_missing", {"www-authenticate": "Bearer"})
    assert Unauthenticated.code == "unauthenticated"


def test_a_subclass_of_an_application_keeps_status_and_code():
    class SlugTaken(errors.AlreadyExists):
        """No status of its own."""

    class Teapot(NotFound, status=418, code="teapot"):
        """One of its own."""

    assert (SlugTaken("x").status, SlugTaken("x").code) == (409, "already_exists")
    assert (Teapot().status, Teapot().code) == (418, "teapot")
    assert NotFound().status == 404
    CODES.pop(418)


def test_the_errors_of_a_request_are_an_extension():
    error = InvalidArgument(
        "1 parameter is invalid", errors=[{"in": "query", "path": "a", "message": "m"}], truncated=True
    )

    assert error.problem()["errors"] == [{"in": "query", "path": "a", "message": "m"}]
    assert error.problem()["truncated"] is True


def test_a_compile_error_names_the_place_and_the_mend():
    error = CompileError("it is wrong", mend="do this", handler="show", parameter="id", file="app.py", line=3)

    assert str(error) == "app.py:3: handler 'show', parameter 'id': it is wrong\n    mend: do this"
    assert (
        str(CompileError("it is wrong", mend="do this", handler="show"))
        == "handler 'show': it is wrong\n    mend: do this"
    )
    assert (
        str(CompileError("it is wrong", mend="do this", parameter="id"))
        == "parameter 'id': it is wrong\n    mend: do this"
    )
    assert str(CompileError("wrong", mend="this", handler="show")) == "handler 'show': wrong\n    mend: this"
    assert str(CompileError("wrong", mend="this", parameter="id")) == "parameter 'id': wrong\n    mend: this"
    assert str(CompileError("wrong", mend="this")) == "wrong\n    mend: this"


def test_only_a_coded_class_is_raised_without_a_status():
    with pytest.raises(TypeError):
        HTTPError()  # type: ignore[call-arg]
    with pytest.raises(BadRequest, match="broken"):
        raise BadRequest("broken")


@pytest.mark.parametrize(
    "error",
    [
        errors.HTTPError(418, "tea", code="teapot", headers={"x-a": "1"}, pots=2),
        errors.NotFound("no post", id=3),
        errors.CompileError("a problem", mend="a mend", handler="h", file="f.py", line=3),
        WebSocketDisconnect(1001, "going away"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickled", "copied"]
)
def test_an_exception_survives_the_way_from_another_process(error: Exception, copied: Any) -> None:
    again = copied(error)

    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
