import asyncio
import json
from typing import Any

import pytest

from fastlane.errors import CompileError, HTTPError, Internal, InvalidArgument, NotFound
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.middleware.failures import FailureHandlers, unhandled_errors
from tests.requests import make_request


def saying(text: str) -> Any:
    def handler(request: Request, error: Exception) -> Response[str]:
        return Response(text, status=400)

    return handler


def answer(failures: FailureHandlers, error: Exception) -> Response[Any]:
    async def run() -> Response[Any]:
        outcome = failures.answer(make_request("GET", "/x"), error)
        return outcome if isinstance(outcome, Response) else await outcome

    return asyncio.run(run())


def test_an_http_error_is_its_problem_document() -> None:
    response = answer(FailureHandlers(), NotFound("no post 3"))

    assert response.status == 404
    assert json.loads(response.body)["detail"] == "no post 3"


def test_anything_else_is_a_500_that_says_nothing_and_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    response = answer(FailureHandlers(), KeyError("the password"))

    assert response.status == 500
    assert b"password" not in response.body
    assert "GET /x failed" in caplog.text
    assert "KeyError: 'the password'" in caplog.text


def test_a_500_that_was_meant_is_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    assert answer(FailureHandlers(), Internal("out of order")).status == 500
    assert "Internal: out of order" in caplog.text


def test_a_404_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer(FailureHandlers(), NotFound())

    assert not caplog.records


def test_the_nearest_class_decides() -> None:
    failures = FailureHandlers()
    failures.add(LookupError, saying("lookup"))
    failures.add(KeyError, saying("key"))

    assert answer(failures, KeyError()).body == b"key"
    assert answer(failures, IndexError()).body == b"lookup"
    assert answer(failures, ValueError()).status == 500


def test_http_errors_can_be_reshaped_by_class_and_by_status() -> None:
    failures = FailureHandlers()
    failures.add(HTTPError, saying("any"))
    failures.add(InvalidArgument, saying("invalid"))
    failures.add(404, saying("missing"))

    assert answer(failures, InvalidArgument()).body == b"invalid"
    assert answer(failures, NotFound()).body == b"missing"
    assert answer(failures, HTTPError(404)).body == b"missing"
    assert answer(failures, HTTPError(418)).body == b"any"


def test_a_status_beats_a_class() -> None:
    failures = FailureHandlers()
    failures.add(NotFound, saying("class"))
    failures.add(404, saying("status"))

    assert answer(failures, NotFound()).body == b"status"


def test_a_handler_of_500_comes_between_the_classes_and_exception() -> None:
    failures = FailureHandlers()
    failures.add(Exception, saying("exception"))
    failures.add(500, saying("500"))
    failures.add(KeyError, saying("key"))

    assert answer(failures, KeyError()).body == b"key"
    assert answer(failures, ValueError()).body == b"500"
    assert answer(failures, Internal()).body == b"500"


def test_an_http_error_is_not_for_the_handler_of_every_exception() -> None:
    class Strange(HTTPError, KeyError): ...

    failures = FailureHandlers()
    failures.add(Exception, saying("exception"))
    failures.add(KeyError, saying("key"))

    assert answer(failures, NotFound("no such post")).status == 404
    assert answer(failures, Internal()).status == 500
    assert answer(failures, Strange(418)).body == b"key"


@pytest.mark.parametrize("key", [500, Exception])
def test_a_handler_of_everything_gets_what_is_logged(key: Any, caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureHandlers()
    failures.add(key, saying("sorry"))

    assert answer(failures, KeyError("lost")).body == b"sorry"
    assert "KeyError: 'lost'" in caplog.text


def test_one_handler_for_all_logs_only_what_nobody_expected(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureHandlers()
    handler = saying("shaped")
    for key in (HTTPError, 500, Exception):
        failures.add(key, handler)

    assert answer(failures, NotFound()).body == b"shaped"
    assert not caplog.records
    assert answer(failures, Internal()).body == b"shaped"
    assert len(caplog.records) == 1


def test_a_handler_may_be_async() -> None:
    async def handler(request: Request, error: KeyError) -> Response[str]:
        await asyncio.sleep(0)
        return Response(request.head.method)

    failures = FailureHandlers()
    failures.add(KeyError, handler)

    assert answer(failures, KeyError()).body == b"GET"


def raise_from(error: Exception) -> Any:
    def handler(request: Request, original: Exception) -> Response[str]:
        raise error

    return handler


def raise_later(error: Exception) -> Any:
    async def handler(request: Request, original: Exception) -> Response[str]:
        raise error

    return handler


@pytest.mark.parametrize("make", [raise_from, raise_later])
def test_a_handler_may_translate_into_an_http_error(make: Any) -> None:
    failures = FailureHandlers()
    failures.add(KeyError, make(NotFound("no such key")))

    assert answer(failures, KeyError()).status == 404


@pytest.mark.parametrize("make", [raise_from, raise_later])
def test_a_handler_that_fails_is_a_500(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureHandlers()
    failures.add(KeyError, make(RuntimeError("handler broke")))

    assert answer(failures, KeyError()).status == 500
    assert "handler broke" in caplog.text


def test_a_handler_that_answers_no_response_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    failures = FailureHandlers()
    failures.add(KeyError, lambda request, error: {"not": "a response"})  # type: ignore[arg-type, return-value]

    assert answer(failures, KeyError()).status == 500
    assert "must return a Response, got dict" in caplog.text


def test_who_wants_unhandled_errors_gets_those_that_nobody_handled() -> None:
    failures = FailureHandlers()
    failures.add(ValueError, saying("handled"))
    errors: list[Exception] = []
    token = unhandled_errors.set(errors)
    try:
        for error in (ValueError(), NotFound(), Internal(), KeyError("lost")):
            answer(failures, error)
    finally:
        unhandled_errors.reset(token)

    assert [str(error) for error in errors] == ["'lost'"]


@pytest.mark.parametrize("key", [200, 600, True, "KeyError", BaseException, int])
def test_a_key_that_can_not_be_handled_is_refused(key: Any) -> None:
    with pytest.raises(CompileError, match="can't be handled"):
        FailureHandlers().add(key, saying(""))


@pytest.mark.parametrize("key", [404, KeyError])
def test_a_second_handler_for_the_same_is_refused(key: Any) -> None:
    failures = FailureHandlers()
    failures.add(key, saying("a"))

    with pytest.raises(CompileError, match="already has the handler"):
        failures.add(key, saying("b"))
