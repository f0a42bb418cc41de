import pytest

from fastlane.endpoint import Endpoint, Match
from fastlane.errors import BadRequest, MethodNotAllowed, NotFound
from fastlane.middleware.failures import FailureHandlers
from fastlane.routing import automatic
from fastlane.routing.table import RouteTable
from fastlane.routing.template import parse_template


def endpoint(name: str) -> Endpoint:
    return Endpoint(lambda request: b"", suspends=False, source=name)


def table(*routes: str) -> RouteTable:
    return RouteTable(
        [(parse_template(route.split()[1]), route.split()[0], endpoint(route)) for route in routes],
        failures=FailureHandlers(),
    )


def call(match: Match) -> object:
    return match.endpoint.call(None)  # type: ignore[arg-type]  # automatic answers look at no request


def test_paths_without_variables_are_exact_with_head() -> None:
    routes = table("GET /posts", "POST /posts", "GET /posts/{id}")

    assert routes.exact.keys() == {b"GET /posts", b"POST /posts", b"HEAD /posts"}
    assert routes.exact[b"HEAD /posts"].endpoint is routes.exact[b"GET /posts"].endpoint


def test_a_head_handler_of_its_own_wins() -> None:
    routes = table("GET /{id}", "HEAD /{x}")

    assert routes.match("HEAD", b"/1").endpoint.source == "HEAD /{x}"


def test_a_dynamic_route_with_another_method_is_exact_too() -> None:
    routes = table("GET /users/me", "PUT /users/{id}")

    assert routes.exact[b"PUT /users/me"].values == ("me",)
    assert routes.match("PUT", b"/users/me").values == ("me",)


def test_text_outside_ascii_is_exact_in_its_encoded_form() -> None:
    routes = table("GET /café")

    assert routes.exact.keys() == {b"GET /caf%C3%A9", b"HEAD /caf%C3%A9"}
    assert routes.match("GET", b"/caf\xc3\xa9").endpoint.source == "GET /café"


def test_both_spellings_of_a_delimiter_are_exact() -> None:
    assert {b"GET /a;b=c", b"GET /a%3Bb%3Dc"} <= table("GET /a;b=c").exact.keys()


@pytest.mark.parametrize("raw", [b"/p%6Fsts", b"/%70osts", b"/posts"])
def test_encoded_forms_of_a_static_path_match(raw: bytes) -> None:
    assert table("GET /posts").match("GET", raw).endpoint.source == "GET /posts"


@pytest.mark.parametrize("raw", [b"//posts", b"/posts/", b"/x/../posts", b"/./posts", b"/Posts", b"/posts%2F"])
def test_other_paths_are_not_found(raw: bytes) -> None:
    with pytest.raises(NotFound):
        call(table("GET /posts").match("GET", raw))


def test_each_refusal_is_a_new_exception() -> None:
    match = table().match("GET", b"/")
    errors = []
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            call(match)
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_another_method_is_refused_with_allow() -> None:
    routes = table("GET /posts", "POST /posts", "DELETE /{x}")

    with pytest.raises(MethodNotAllowed) as caught:
        call(routes.match("PATCH", b"/posts"))

    assert caught.value.headers == {"allow": "DELETE, GET, HEAD, OPTIONS, POST"}
    assert routes.match("PATCH", b"/posts") is routes.match("BREW", b"/posts")


def test_options_is_answered_with_allow() -> None:
    match = table("GET /posts").match("OPTIONS", b"/posts")

    assert call(match) == b""
    assert match.endpoint.status == 204
    assert match.endpoint.headers == ((b"allow", b"GET, HEAD, OPTIONS"),)


def test_a_users_options_wins() -> None:
    assert table("GET /posts", "OPTIONS /posts").match("OPTIONS", b"/posts").endpoint.source == "OPTIONS /posts"


def test_options_of_the_whole_server_has_every_method() -> None:
    match = table("GET /a", "POST /b").match("OPTIONS", b"*")

    assert match.endpoint.status == 204
    assert match.endpoint.headers == ((b"allow", b"GET, HEAD, OPTIONS, POST"),)


@pytest.mark.parametrize(("method", "raw"), [("GET", b"*"), ("CONNECT", b"host:80"), ("OPTIONS", b"x")])
def test_a_target_that_is_no_path_is_a_bad_request(method: str, raw: bytes) -> None:
    with pytest.raises(BadRequest, match="not a path"):
        call(table("GET /a").match(method, raw))


def test_a_path_that_can_not_be_decoded_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        call(table("GET /{x}").match("GET", b"/%ff"))


def test_websocket_routes_are_apart() -> None:
    socket = endpoint("socket")
    routes = RouteTable(
        [(parse_template("/ws"), "GET", endpoint("page"))],
        websockets=[(parse_template("/ws"), socket)],
        failures=FailureHandlers(),
    )

    match = routes.match_websocket(b"/ws")

    assert match is not None
    assert match.endpoint is socket
    assert routes.match_websocket(b"/other") is None
    assert routes.match("WEBSOCKET", b"/ws").endpoint.source == ""


def test_the_wrapper_is_around_everything_nobody_wrote() -> None:
    wrapped: list[Endpoint] = []

    def wrap(inner: Endpoint) -> Endpoint:
        wrapped.append(inner)
        return endpoint("wrapped")

    routes = RouteTable([(parse_template("/a"), "GET", endpoint("a"))], failures=FailureHandlers(), wrap=wrap)

    for method, raw in [("GET", b"/b"), ("PUT", b"/a"), ("OPTIONS", b"/a"), ("OPTIONS", b"*"), ("GET", b"/%")]:
        assert routes.match(method, raw).endpoint.source == "wrapped"
    assert routes.match("GET", b"/a").endpoint.source == "a"


def test_the_source_of_the_matcher_can_be_read() -> None:
    assert "if s1 == 'posts':" in table("GET /posts").source


def test_an_asgi_endpoint_has_no_call() -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        raise AssertionError

    asgi = automatic.asgi_endpoint(application, "route")

    assert (asgi.asgi, asgi.route) == (application, "route")
    with pytest.raises(AssertionError, match="has no call"):
        asgi.call(None)  # type: ignore[arg-type]
