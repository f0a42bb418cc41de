from typing import Any

import pytest

from fastlane import App, RedirectResponse, Request, Response
from fastlane.testing import TestClient
from fastlane.testing.cookies import CookieJar


def jar(*lines: str, host: str = "a.example.org", path: str = "/shop/cart") -> CookieJar:
    cookies = CookieJar()
    cookies.store(list(lines), host, path)
    return cookies


@pytest.mark.parametrize(
    ("line", "host", "path", "sent"),
    [
        ("a=1", "a.example.org", "/shop/cart", True),
        ("a=1", "a.example.org", "/shop", True),
        ("a=1", "a.example.org", "/", False),
        ("a=1", "b.example.org", "/shop/cart", False),
        ("a=1; Path=/", "a.example.org", "/anything", True),
        ("a=1; Path=/shop", "a.example.org", "/shopping", False),
        ("a=1; Path=/shop/", "a.example.org", "/shop/x", True),
        ("a=1; Path=relative", "a.example.org", "/shop/x", True),
        ("a=1; Path=/; Domain=example.org", "b.example.org", "/", True),
        ("a=1; Path=/; Domain=.Example.org", "example.org", "/", True),
        ("a=1; Path=/; Domain=example.org", "badexample.org", "/", False),
        ("a=1; Path=/; Domain=other.org", "a.example.org", "/", False),
        ("a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a.example.org", "/", True),
        ("a=1; Path=/; Max-Age=0", "a.example.org", "/", False),
        ("a=1; Path=/; Max-Age=-1", "a.example.org", "/", False),
        ("a=1; Path=/; Max-Age=soon", "a.example.org", "/", True),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a.example.org", "/", False),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 -0000", "a.example.org", "/", False),
        ("a=1; Path=/; Expires=Fri, 01 Jan 2999 00:00:00 GMT", "a.example.org", "/", True),
        ("a=1; Path=/; Expires=never", "a.example.org", "/", True),
        ("a=1; Path=/; Secure; HttpOnly; SameSite=Lax", "a.example.org", "/", True),
        ("no cookie", "a.example.org", "/shop/cart", False),
    ],
)
def test_domain_path_and_expiry_decide_what_is_sent(line: str, host: str, path: str, sent: bool) -> None:
    assert jar(line).sent_to(host, path) == ([("a", "1")] if sent else [])


def test_the_longest_path_comes_first_and_the_last_one_is_the_value() -> None:
    cookies = jar("a=root; Path=/", "a=shop; Path=/shop")

    assert cookies.sent_to("a.example.org", "/shop/cart") == [("a", "shop"), ("a", "root")]
    assert (cookies["a"], len(cookies), list(cookies)) == ("shop", 1, ["a"])


def test_a_cookie_is_replaced_and_expired_where_it_was_set() -> None:
    cookies = jar("a=1; Path=/", "a=2; Path=/", "b=1; Path=/x", "b=; Path=/; Max-Age=0")

    assert cookies == {"a": "2", "b": "1"}


def test_what_a_test_puts_in_goes_everywhere_until_an_answer_replaces_it() -> None:
    cookies = CookieJar({"a": "1"})
    assert cookies.sent_to("any.host", "/any/path") == [("a", "1")]
    cookies.store(["a=2; Path=/"], "one.host", "/")

    assert cookies.sent_to("any.host", "/") == []
    assert repr(cookies) == "CookieJar({'a': '2'})"
    del cookies["a"]
    with pytest.raises(KeyError):
        del cookies["a"]


def test_a_login_sets_its_cookie_before_the_redirect_is_followed() -> None:
    app = App()

    @app.post("/login")
    async def login() -> Response[Any]:
        response: Response[Any] = RedirectResponse("/account/me", status=303)
        response.set_cookie("session", "s1", path="/account")
        return response

    @app.get("/account/me")
    async def me(request: Request) -> dict[str, str]:
        return request.cookies

    @app.get("/elsewhere")
    async def elsewhere(request: Request) -> dict[str, str]:
        return request.cookies

    with TestClient(app, follow_redirects=True) as client:
        assert client.post("/login").json() == {"session": "s1"}
        assert client.get("/account/me", cookies={"session": "mine", "b": "2"}).json() == {"session": "mine", "b": "2"}
        assert client.get("/elsewhere").json() == {}
        assert client.get("http://other.example/account/me").json() == {}
