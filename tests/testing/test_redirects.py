from typing import Annotated, Any

import pytest

from fastlane import App, Header, RedirectResponse, Request
from fastlane.testing import TestClient


def site() -> App:
    app = App()

    @app.route("/go/{status}", methods=["GET", "POST", "PUT"])
    async def go(status: int, to: str = "../end?a=1#part") -> RedirectResponse:
        return RedirectResponse(to, status=status)

    @app.route("/end", methods=["GET", "POST", "PUT"])
    async def end(request: Request, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        return {
            "method": request.method,
            "url": str(request.url),
            "body": (await request.body()).decode(),
            "type": request.headers.get("content-type"),
            "authorization": authorization,
        }

    @app.get("/round")
    async def round_and_round() -> RedirectResponse:
        return RedirectResponse("/round")

    return app


def test_redirects_are_followed_when_that_is_asked_for() -> None:
    with TestClient(site()) as client:
        assert client.get("/go/302").status == 302
        assert client.get("/go/302").is_redirect
        response = client.get("/go/302", follow_redirects=True)
        assert response.json()["url"] == "http://testserver/end?a=1"
        assert [step.status for step in response.history] == [302]
        assert not response.is_redirect
    with TestClient(site(), follow_redirects=True) as client:
        assert client.get("/go/307").status == 200
        assert client.get("/go/307", follow_redirects=False).status == 307


@pytest.mark.parametrize(
    ("method", "status", "then", "body"),
    [
        ("POST", 301, "GET", ""),
        ("POST", 302, "GET", ""),
        ("POST", 303, "GET", ""),
        ("PUT", 303, "GET", ""),
        ("PUT", 302, "PUT", '{"a":1}'),
        ("POST", 307, "POST", '{"a":1}'),
        ("POST", 308, "POST", '{"a":1}'),
    ],
)
def test_method_and_body_stay_or_go_as_in_a_browser(method: str, status: int, then: str, body: str) -> None:
    with TestClient(site(), follow_redirects=True) as client:
        seen = client.request(method, f"/go/{status}", json={"a": 1}).json()

    assert (seen["method"], seen["body"]) == (then, body)
    assert seen["type"] == ("application/json" if body else None)


def test_a_body_in_pieces_is_sent_again() -> None:
    with TestClient(site(), follow_redirects=True) as client:
        assert client.post("/go/307", content=iter([b"a", b"b"])).json()["body"] == "ab"


def test_credentials_stay_with_their_host() -> None:
    with TestClient(site(), headers={"authorization": "secret"}, follow_redirects=True) as client:
        assert client.get("/go/307").json()["authorization"] == "secret"


def test_credentials_of_a_request_stay_with_their_host() -> None:
    with TestClient(site(), follow_redirects=True) as client:
        elsewhere = client.get("/go/307?to=https://other.example/end", headers={"authorization": "secret"}).json()

    assert (elsewhere["authorization"], elsewhere["url"]) == ("", "https://other.example/end")


def test_a_circle_ends() -> None:
    with TestClient(site()) as client, pytest.raises(RuntimeError, match="more than 20 redirects"):
        client.get("/round", follow_redirects=True)
