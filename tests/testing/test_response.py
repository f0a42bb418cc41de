import msgspec
import pytest

from fastlane.testing import HTTPStatusError, TestResponse
from fastlane.testing.cookies import CookieJar


class Point(msgspec.Struct):
    x: int


def response(
    status: int = 200, content: bytes = b"", media_type: str = "text/plain", *more: tuple[bytes, bytes]
) -> TestResponse:
    return TestResponse("GET", "/x", status, [(b"content-type", media_type.encode()), *more], content)


def test_status_has_both_names() -> None:
    assert response(201).status == response(201).status_code == 201
    assert response(422).reason_phrase == "Unprocessable Content"
    assert response(299).reason_phrase == ""
    assert repr(response(404)) == "<TestResponse 404 Not Found>"


def test_text_is_decoded_as_the_charset_says() -> None:
    assert response(content="ä".encode()).text == "ä"
    assert response(content=b"\xe4", media_type="text/plain; charset=latin-1").text == "ä"
    assert response(content=b"\xe4", media_type='text/plain; charset="latin-1"; x=y').text == "ä"


def test_json_can_be_decoded_as_a_type() -> None:
    assert response(content=b'{"x": 1}').json() == {"x": 1}
    assert response(content=b'{"x": 1}').json(Point) == Point(1)
    with pytest.raises(msgspec.ValidationError):
        response(content=b'{"x": "a"}').json(Point)


def test_raise_for_status_shows_the_body() -> None:
    assert response(204).raise_for_status().is_success
    with pytest.raises(HTTPStatusError, match="GET /x: 404 Not Found\nno post"):
        response(404, b"no post").raise_for_status()
    assert not response(404).is_success


def test_cookies_of_a_response_are_parsed() -> None:
    set_cookie = ((b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b'b="x y"; Max-Age=60'))

    assert response(200, b"", "text/plain", *set_cookie).cookies == {"a": "1", "b": "x y"}


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ("", True),
        ("; Path=/; HttpOnly", True),
        ("; Max-Age=1", True),
        ("; Max-Age=0", False),
        ("; max-age=-1; expires=Wed, 01 Jan 2800 00:00:00 GMT", False),
        ("; Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
        ("; Expires=Wed, 01 Jan 2800 00:00:00 GMT", True),
    ],
)
def test_an_expired_cookie_leaves_the_jar(attributes: str, kept: bool) -> None:
    jar = CookieJar({"a": "old"})

    jar.store([f"a=new{attributes}"])

    assert jar == ({"a": "new"} if kept else {})


def test_expiring_what_is_not_there_is_no_error() -> None:
    jar = CookieJar()

    jar.store(["a=; Max-Age=0"])

    assert jar == {}
