"""RFC 9457 documents."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import HTTPError, InvalidArgument, NotFound, Unauthenticated
from fastlane.http.problem import problem_response


def document(error: HTTPError) -> Any:
    response = problem_response(error)
    assert response.headers["content-type"] == "application/problem+json"
    return json.loads(response.body)


def test_an_error_is_a_problem_document():
    error = InvalidArgument("1 parameter is invalid", errors=[{"in": "body", "path": "a", "message": "m"}])

    assert problem_response(error).status == 422
    assert document(error) == {
        "errors": [{"in": "body", "path": "a", "message": "m"}],
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "code": "invalid_argument",
        "detail": "1 parameter is invalid",
    }


def test_the_error_s_headers_are_sent():
    response = problem_response(Unauthenticated(headers={"WWW-Authenticate": "Bearer"}))

    assert response.headers["www-authenticate"] == "Bearer"


def test_what_json_lacks_is_sent_as_its_text():
    class Url:
        def __str__(self) -> str:
            return "https://example.org"

    cycle: list[Any] = []
    cycle.append(cycle)

    assert document(NotFound(url=Url(), of=[1, None, True, 1.5, {3: {Url}}]))["url"] == "https://example.org"
    assert document(NotFound("no file \udc80"))["detail"] == "no file \\udc80"
    assert document(NotFound(pairs={(1, 2): "a"}))["pairs"] == {"(1, 2)": "a"}
    assert document(NotFound(cycle=cycle))["status"] == 404


def test_headers_that_can_t_be_sent_become_a_logged_500(caplog):
    response = problem_response(NotFound("no", headers={"x": "a\r\nb: c"}))

    assert response.status == 500
    assert json.loads(response.body) == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal",
    }
    assert "NotFound carries headers that can't be sent" in caplog.text


_leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.builds(object))
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(), st.integers(), st.none()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.integers(400, 599), st.text(st.characters()), st.dictionaries(st.text(), _values, max_size=4))
def test_every_error_has_a_valid_document(status, detail, extensions):
    for taken in ("status", "detail", "code", "headers", "self"):
        extensions.pop(taken, None)
    body = json.loads(problem_response(HTTPError(status, detail, **extensions)).body)

    assert isinstance(body, dict)
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert isinstance(body["title"], str)
    assert isinstance(body.get("detail", ""), str)
