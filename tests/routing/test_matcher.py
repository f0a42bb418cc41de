import gc
import linecache
import traceback

from hypothesis import given
from hypothesis import strategies as st

from fastlane.endpoint import Endpoint
from fastlane.routing.matcher import Matcher
from fastlane.routing.segments import split_path
from fastlane.routing.template import PathTemplate, parse_template


def endpoint(name: str) -> Endpoint:
    return Endpoint(lambda request: b"", suspends=False, source=name)


def matcher(*routes: str, mounts: tuple[str, ...] = ()) -> Matcher:
    """Routes as "GET /path"; each endpoint's source is its route."""
    return Matcher(
        [(parse_template(route.split()[1]), route.split()[0], endpoint(route)) for route in routes],
        [(parse_template(path), endpoint(f"mount {path}")) for path in mounts],
    )


def found(matcher: Matcher, method: str, path: str) -> tuple[str, tuple[str, ...]] | None:
    match = matcher.find(method, split_path(path.encode()))
    return None if match is None else (match.endpoint.source, match.values)


def test_texts_come_before_variables() -> None:
    routes = matcher("GET /posts/{id}", "GET /posts/new")

    assert found(routes, "GET", "/posts/new") == ("GET /posts/new", ())
    assert found(routes, "GET", "/posts/3") == ("GET /posts/{id}", ("3",))


def test_a_dead_end_below_a_text_falls_back_to_the_variable() -> None:
    routes = matcher("GET /a/{x}/c", "GET /{y}/b/d")

    assert found(routes, "GET", "/a/b/c") == ("GET /a/{x}/c", ("b",))
    assert found(routes, "GET", "/a/b/d") == ("GET /{y}/b/d", ("a",))


def test_a_text_without_the_method_falls_back_to_the_variable() -> None:
    routes = matcher("GET /users/me", "PUT /users/{id}")

    assert found(routes, "PUT", "/users/me") == ("PUT /users/{id}", ("me",))
    assert routes.allowed(["", "users", "me"]) == ["GET", "PUT"]


def test_the_narrower_mixed_segment_comes_first() -> None:
    routes = matcher("GET /{x}", "GET /{x}.json", "GET /v{x}.json")

    assert found(routes, "GET", "/v1.json") == ("GET /v{x}.json", ("1",))
    assert found(routes, "GET", "/a.json") == ("GET /{x}.json", ("a",))
    assert found(routes, "GET", "/.json") == ("GET /{x}", (".json",))
    assert found(routes, "GET", "/a") == ("GET /{x}", ("a",))


def test_a_variable_is_never_empty() -> None:
    routes = matcher("GET /posts/{id}", "GET /posts/{id}/x")

    assert found(routes, "GET", "/posts/") is None
    assert found(routes, "GET", "/posts//x") is None


def test_a_tail_takes_the_rest_and_may_be_empty() -> None:
    routes = matcher("GET /files/{path:path}", "GET /files/{name}")

    assert found(routes, "GET", "/files/") == ("GET /files/{path:path}", ("",))
    assert found(routes, "GET", "/files/a") == ("GET /files/{name}", ("a",))
    assert found(routes, "GET", "/files/a/../b//") == ("GET /files/{path:path}", ("a/../b//",))
    assert found(routes, "GET", "/files") is None


def test_slash_variants_are_different_routes() -> None:
    routes = matcher("GET /a", "POST /a/")

    assert found(routes, "GET", "/a/") is None
    assert found(routes, "POST", "/a") is None


def test_a_mount_takes_every_method_at_and_below_its_path_unless_a_route_matches() -> None:
    routes = matcher("GET /admin/health", mounts=("/admin", "/admin/deep"))

    assert found(routes, "GET", "/admin/health") == ("GET /admin/health", ())
    assert found(routes, "POST", "/admin/health") == ("mount /admin", ())
    assert found(routes, "BREW", "/admin") == ("mount /admin", ())
    assert found(routes, "GET", "/admin/deep/x") == ("mount /admin/deep", ())
    assert found(routes, "GET", "/administrator") is None


def test_a_mount_at_the_root_takes_everything_else() -> None:
    routes = matcher("GET /a", mounts=("/",))

    assert found(routes, "GET", "/a") == ("GET /a", ())
    assert found(routes, "GET", "/b/c") == ("mount /", ())


def test_many_siblings_are_a_dict_of_functions_and_variables_before_them_survive() -> None:
    routes = matcher(*(f"GET /{{lang}}/page{number}/{{id}}" for number in range(50)), "GET /{lang}/{name}/{id}")

    assert "switch_" in routes.source
    assert found(routes, "GET", "/sv/page42/7") == ("GET /{lang}/page42/{id}", ("sv", "7"))
    assert found(routes, "GET", "/sv/other/7") == ("GET /{lang}/{name}/{id}", ("sv", "other", "7"))


def test_very_deep_templates_compile() -> None:
    template = "".join(f"/s{number}/{{v{number}}}" for number in range(60))
    routes = matcher(f"GET {template}")
    path = "".join(f"/s{number}/{number}" for number in range(60))

    assert found(routes, "GET", path) == (f"GET {template}", tuple(map(str, range(60))))
    assert found(routes, "GET", path + "/x") is None


def test_quotes_in_a_template_stay_text() -> None:
    routes = matcher("GET /it's", 'GET /"/{x}\\', "GET /a'+1+'")

    assert found(routes, "GET", "/it's") == ("GET /it's", ())
    assert found(routes, "GET", '/"/b\\') == ('GET /"/{x}\\', ("b",))


def test_the_source_stands_in_linecache_while_the_matcher_lives() -> None:
    class Refusing(dict[str, Endpoint]):
        def get(self, key: object, default: object = None) -> Endpoint:  # type: ignore[override]
            raise LookupError("here")

    routes = matcher("GET /a")
    routes.find.__globals__["routes_0"] = Refusing()
    try:
        routes.find("GET", ["", "a"])
    except LookupError as error:
        text = "".join(traceback.format_exception(error))
    assert "endpoint = routes_0.get(method)" in text
    file = routes.find.__code__.co_filename
    assert file in linecache.cache
    del routes
    gc.collect()
    assert file not in linecache.cache


def test_the_work_for_a_hostile_path_is_linear() -> None:
    routes = matcher("GET /{a}/{b}/{c}", "GET /a/{b}/x", "GET /{a}/b/y", "GET /t/{rest:path}")
    calls = 0

    class Counting(list[str]):
        def __getitem__(self, index: object) -> object:  # type: ignore[override]
            nonlocal calls
            calls += 1
            return super().__getitem__(index)  # type: ignore[index]

    assert routes.find("GET", Counting(["", *["a"] * 8000])) is None
    assert calls < 30


SEGMENTS = st.sampled_from(["a", "b", "", "{v}", "{v}.j", "x{v}", "x{v}.j"])


@given(
    st.lists(st.tuples(st.sampled_from(["GET", "POST"]), st.lists(SEGMENTS, min_size=1, max_size=4)), max_size=8),
    st.lists(st.sampled_from(["a", "b", "", "x", "x.j", "a.j", ".j", "xa.j"]), min_size=1, max_size=5),
)
def test_the_generated_matcher_agrees_with_a_search_by_hand(
    declared: list[tuple[str, list[str]]], path: list[str]
) -> None:
    routes: dict[tuple[str, tuple[tuple[str, ...], ...]], tuple[PathTemplate, str, Endpoint]] = {}
    for method, segments in declared:
        names = [segment.replace("{v}", f"{{v{index}}}") for index, segment in enumerate(segments)]
        template = parse_template("/" + "/".join(names))
        routes[method, template.shape] = (template, method, endpoint(f"{method} {template.path}"))
    generated = Matcher(routes.values())

    for method in ("GET", "POST"):
        fitting = [
            (template, found_endpoint)
            for template, known, found_endpoint in routes.values()
            if known == method and fits(template, path)
        ]
        match = generated.find(method, ["", *path])
        if not fitting:
            assert match is None
        else:
            best = min(fitting, key=lambda item: [rank(segment) for segment in item[0].segments])
            assert match is not None
            assert match.endpoint is best[1]
            rebuilt = dict(zip(best[0].names, match.values, strict=True))
            assert best[0].build(rebuilt) == "/" + "/".join(path)


def fits(template: PathTemplate, path: list[str]) -> bool:
    return len(template.segments) == len(path) and all(
        text == segment.prefix if segment.variable is None else segment.matches(text)
        for segment, text in zip(template.segments, path, strict=True)
    )


def rank(segment: object) -> tuple[int, int]:
    variable, text = segment.variable, segment.prefix + segment.suffix  # type: ignore[attr-defined]
    return (0, 0) if variable is None else (1, -len(text))
