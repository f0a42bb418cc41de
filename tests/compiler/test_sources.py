"""DESIGN 3 and REQUESTS 1 and 2: where a parameter comes from, and what is refused at import."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import attrs
import msgspec
import pytest
from msgspec import Meta, Struct

from fastlane.compiler import RouteSpec, read_handler
from fastlane.errors import CompileError
from fastlane.http.background import BackgroundTasks
from fastlane.http.request import Request
from fastlane.params import Body, Cookie, Depends, Form, Header, Path, Query, State
from tests.compiler.requests import answer, compiled, errors


class Post(Struct):
    title: str
    likes: int = 0


@dataclasses.dataclass
class PostDataclass:
    title: str
    likes: int = 0


class PostTypedDict(TypedDict):
    title: str


class PostTuple(NamedTuple):
    title: str
    likes: int = 0


@attrs.define
class PostAttrs:
    title: str
    likes: int = 0


# ---------------------------------------------------------------- where values come from


def test_a_name_of_the_path_is_read_from_the_path() -> None:
    async def get_post(id: int, slug: str) -> list[Any]:
        return [id, slug]

    assert answer(compiled(get_post, "/{slug}/{id}"), values=("hello", "3")) == b'[3,"hello"]'


def test_a_path_marker_names_a_variable_that_is_no_identifier() -> None:
    async def get_post(id: Annotated[int, Path("post-id")]) -> int:
        return id

    assert answer(compiled(get_post, "/{post-id}"), values=("3",)) == b"3"


def test_an_annotation_beats_a_name() -> None:
    async def odd(request: int, body: str, header: Annotated[str, Query("h")]) -> list[Any]:
        return [request, body, header]

    assert answer(compiled(odd), query="request=1&body=b&h=x") == b'[1,"b","x"]'


def test_names_of_the_generated_code_are_free_for_parameters() -> None:
    async def odd(
        encode: int, examine: int, head: int, query: int, text: int, values: int, raw: int, error: int, odd: int
    ) -> int:
        return encode + examine + head + query + text + values + raw + error + odd

    query = "&".join(
        f"{name}=1" for name in ["encode", "examine", "head", "query", "text", "values", "raw", "error", "odd"]
    )
    assert answer(compiled(odd), query=query) == b"9"


def test_a_scalar_without_a_marker_is_a_query_value() -> None:
    async def search(q: str, page: int = 1, exact: bool | None = None) -> list[Any]:
        return [q, page, exact]

    endpoint = compiled(search, methods="POST")
    assert answer(endpoint, query="q=a") == b'["a",1,null]'
    assert answer(endpoint, query="q=&page=2&exact=ON") == b'["",2,true]'
    assert answer(endpoint, query="q=a%20b%2B&page=%32") == b'["a b+",2,null]'


def test_a_repeated_scalar_of_the_query_takes_the_last() -> None:
    async def search(q: str) -> str:
        return q

    assert answer(compiled(search), query="q=a&q=b") == answer(compiled(search), query="q=%61&q=b")


def test_a_list_on_get_takes_every_repetition() -> None:
    async def search(tag: list[str], n: set[int], pair: tuple[int, str], q: str = "none") -> list[Any]:
        return [tag, sorted(n), pair, q]

    endpoint = compiled(search)
    assert answer(endpoint, query="tag=a&n=2&tag=b&n=1&pair=1&pair=x") == b'[["a","b"],[1,2],[1,"x"],"none"]'
    assert answer(endpoint, query="tag=a&n=2&pair=1&pair=x&q=1&q=2") == b'[["a"],[2],[1,"x"],"2"]'


def test_a_list_with_a_default_or_none_may_be_missing() -> None:
    async def search(a: Sequence[int] = (1,), b: list[int] | None = None, c: frozenset[str] | None = None) -> list[Any]:
        return [list(a), b, c]

    assert answer(compiled(search)) == b"[[1],null,null]"
    assert answer(compiled(search), query="b=3") == b"[[1],[3],null]"


def test_a_mutable_default_is_new_for_every_request() -> None:
    async def search(a: list[int] = []) -> list[int]:  # noqa: B006 - the point of the test
        a.append(1)
        return a

    endpoint = compiled(search)
    assert answer(endpoint) == b"[1]"
    assert answer(endpoint) == b"[1]"


def test_a_default_that_is_no_literal_is_handed_over_as_it_is() -> None:
    default = (1, 2)

    async def search(a: tuple[int, ...] = default) -> bool:
        return a is default

    assert answer(compiled(search)) == b"true"


def test_none_without_a_default_means_that_the_value_may_be_missing() -> None:
    async def search(q: str | None, token: Annotated[str | None, Header()], c: Annotated[int | None, Cookie()]) -> Any:
        return [q, token, c]

    assert answer(compiled(search)) == b"[null,null,null]"


def test_headers_have_dashes_and_lower_case_names() -> None:
    async def show(
        x_token: Annotated[str, Header()],
        n: Annotated[int, Header("X-Number")],
        raw: Annotated[bytes, Header()],
        bare: Annotated[str, Header],
        optional: Annotated[str, Header()] = "d",
        count: Annotated[int, Header()] = 7,
    ) -> list[Any]:
        return [x_token, n, raw.hex(), bare, optional, count]

    endpoint = compiled(show)
    headers = {"x-token": "ä", "x-number": "3", "raw": b"\xff", "bare": "b"}
    assert answer(endpoint, headers=headers) == '["ä",3,"ff","b","d",7]'.encode()
    assert answer(endpoint, headers={**headers, "optional": "o", "count": "8"}) == '["ä",3,"ff","b","o",8]'.encode()


def test_a_header_list_takes_one_item_a_line_and_splits_no_commas() -> None:
    async def show(
        accept: Annotated[list[str], Header()],
        raw: Annotated[tuple[bytes, ...], Header()] = (),
        n: Annotated[tuple[int, ...], Header()] = (5,),
    ) -> list[Any]:
        return [accept, len(raw), n]

    endpoint = compiled(show)
    assert answer(endpoint, headers={"accept": ["a, b", "c"], "raw": b"\xff"}) == b'[["a, b","c"],1,[5]]'
    assert errors(endpoint) == [("header", "accept", "Missing required header")]


def test_cookies_are_read_by_name() -> None:
    async def show(
        session: Annotated[str, Cookie()],
        n: Annotated[int, Cookie("count")] = 0,
        many: Annotated[tuple[int, ...], Cookie()] = (),
    ) -> list[Any]:
        return [session, n, many]

    endpoint = compiled(show)
    assert answer(endpoint, headers={"cookie": "session=abc; count=3; many=4"}) == b'["abc",3,[4]]'
    assert answer(endpoint, headers={"cookie": "session=abc"}) == b'["abc",0,[]]'
    assert errors(endpoint) == [("cookie", "session", "Missing required cookie")]


def test_a_form_holds_scalars_lists_and_structures() -> None:
    class Extra(Struct, rename="camel"):
        zip_code: int
        note: str = "-"

    async def sign_up(
        name: Annotated[str, Form()], tag: Annotated[list[str], Form()], extra: Annotated[Extra, Form()]
    ) -> list[Any]:  # fmt: skip
        return [name, tag, extra.zip_code, extra.note]

    endpoint = compiled(sign_up, methods="POST")
    assert endpoint.body is not None
    assert endpoint.body.media_types == {"application/x-www-form-urlencoded"}
    assert answer(endpoint, body=b"name=a+b&tag=x&tag=y&zipCode=12") == b'["a b",["x","y"],12,"-"]'
    assert errors(endpoint, body=b"tag=x&zipCode=z") == [
        ("form", "name", "Missing required form field"),
        ("form", "zipCode", "Expected `int`, got `str`"),
    ]


def test_a_form_of_scalars_alone_builds_no_lists() -> None:
    async def sign_up(name: Annotated[str, Form()], age: Annotated[int, Form()] = 0) -> list[Any]:
        return [name, age]

    endpoint = compiled(sign_up, methods="PUT")
    assert "parse_query_lists" not in endpoint.source
    assert answer(endpoint, body=b"name=x&age=3") == b'["x",3]'


@pytest.mark.parametrize("annotation", [Post, PostDataclass, PostTypedDict, PostTuple, PostAttrs])
def test_a_structure_is_the_body_of_post_put_and_patch(annotation: Any) -> None:
    async def create(post: annotation) -> str:  # type: ignore[valid-type]
        return type(post).__name__

    for methods in ("POST", "PUT", "PATCH", ("POST", "PUT")):
        endpoint = compiled(create, methods=methods, localns={"annotation": annotation})
        body = b'["t"]' if annotation is PostTuple else b'{"title":"t"}'
        expected = "dict" if annotation is PostTypedDict else annotation.__name__
        assert answer(endpoint, body=body) in (expected.encode(), f'"{expected}"'.encode())


@pytest.mark.parametrize("annotation", [Post, PostDataclass, PostTuple, PostAttrs])
def test_a_structure_on_get_is_read_from_the_query(annotation: Any) -> None:
    async def search(post: annotation) -> list[Any]:  # type: ignore[valid-type]
        return [type(post).__name__, post.title, post.likes]

    endpoint = compiled(search, methods=("GET", "HEAD"), localns={"annotation": annotation})
    assert answer(endpoint, query="title=t&likes=3&other=x") == f'["{annotation.__name__}","t",3]'.encode()
    assert answer(endpoint, query="title=t") == f'["{annotation.__name__}","t",0]'.encode()
    assert errors(endpoint, query="likes=x") == [
        ("query", "title", "Missing required query parameter"),
        ("query", "likes", "Expected `int`, got `str`"),
    ]


def test_a_typed_dict_of_the_query_lacks_what_was_not_sent() -> None:
    class Filter(TypedDict, total=False):
        q: str
        page: int

    async def search(filter: Filter) -> Filter:
        return filter

    assert answer(compiled(search), query="page=3") == b'{"page":3}'


def test_a_typed_dict_of_typing_extensions_is_one() -> None:
    page = pytest.importorskip("typing_extensions").TypedDict("Page", {"page": int})

    async def search(filter: page) -> page:  # type: ignore[valid-type]
        return filter

    assert answer(compiled(search, localns={"page": page}), query="page=3") == b'{"page":3}'


def test_dict_takes_the_whole_query_or_form() -> None:
    async def in_a_form(form: Annotated[dict[str, list[int]], Form()]) -> dict[str, list[int]]:
        return form

    async def on_get(everything: dict[str, str]) -> dict[str, str]:
        return everything

    async def on_get_lists(everything: dict[str, list[int]], q: str = "") -> list[Any]:
        return [everything, q]

    async def beside_a_list(everything: dict, tag: list[str]) -> list[Any]:  # type: ignore[type-arg]
        return [everything, tag]

    assert answer(compiled(in_a_form, methods="POST"), body=b"a=1&a=2") == b'{"a":[1,2]}'
    assert answer(compiled(on_get), query="a=1&b=x") == b'{"a":"1","b":"x"}'
    assert answer(compiled(on_get_lists), query="a=1&a=2") == b'[{"a":[1,2]},""]'
    assert answer(compiled(beside_a_list), query="tag=1&tag=2") == b'[{"tag":"2"},["1","2"]]'
    assert errors(compiled(on_get_lists), query="a=1&a=x") == [("query", "a[1]", "Expected `int`, got `str`")]


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        (Query(), {"query": "title=t"}),
        (Header(), {"headers": {"title": "t"}}),
        (Cookie(), {"headers": {"cookie": "title=t"}}),
        (Form(), {"body": b"title=t"}),
    ],
)
def test_a_structure_with_a_default_stands_where_nothing_was_given(source: Any, parts: dict[str, Any]) -> None:
    default = Post("default")

    async def search(post: Annotated[Post, source] = default, n: Annotated[int, Query()] = 0) -> str:
        return post.title

    async def optional(post: Annotated[Post | None, source]) -> Any:
        return [post and post.title]

    names = {"source": source, "default": default}
    endpoint = compiled(search, methods="POST", localns=names)
    assert answer(endpoint).strip(b'"') == b"default"
    assert answer(endpoint, **parts).strip(b'"') == b"t"
    maybe = compiled(optional, methods="POST", localns=names)
    assert answer(maybe) == b"[null]"
    assert answer(maybe, **parts) == b'["t"]'


def test_bytes_with_a_body_marker_are_the_raw_body() -> None:
    async def upload(data: Annotated[bytes, Body(media_type="image/PNG", max_size=9)]) -> int:
        return len(data)

    async def any_type(data: Annotated[bytes, Body()] = b"none") -> str:
        return data.decode()

    async def bounded(data: Annotated[bytes, Meta(max_length=2), Body()]) -> int:
        return len(data)

    endpoint = compiled(upload, methods="POST")
    assert endpoint.body is not None
    assert (endpoint.body.media_types, endpoint.body.max_size) == ({"image/png"}, 9)
    assert answer(endpoint, body=b"\xff\x00") == b"2"
    assert answer(endpoint) == b"0"
    loose = compiled(any_type, methods="POST")
    assert loose.body is not None
    assert loose.body.media_types is None
    assert answer(loose).strip(b'"') == b"none"
    assert errors(compiled(bounded, methods="POST"), body=b"abc") == [("body", "", "Expected `bytes` of length <= 2")]


def test_a_list_of_structures_is_a_body() -> None:
    async def create(posts: list[Post]) -> int:
        return len(posts)

    assert answer(compiled(create, methods="POST"), body=b'[{"title":"a"}]') == b"1"


def test_a_list_of_scalars_is_a_body_with_a_marker() -> None:
    async def create(numbers: Annotated[list[int], Body()]) -> int:
        return sum(numbers)

    async def get(numbers: Annotated[list[int], Query()]) -> int:
        return sum(numbers)

    assert answer(compiled(create, methods="POST"), body=b"[1,2]") == b"3"
    assert answer(compiled(get, methods="DELETE"), query="numbers=1&numbers=2") == b"3"


def test_the_request_and_background_tasks_come_by_type() -> None:
    async def show(it: Request, tasks: BackgroundTasks | None, also: Request) -> bool:
        return isinstance(it, Request) and it is also and isinstance(tasks, BackgroundTasks)

    endpoint = compiled(show)
    assert endpoint.body is not None  # the handler may read it
    assert endpoint.body.media_types is None
    assert answer(endpoint) == b"true"


def test_keyword_only_parameters_are_passed_by_keyword() -> None:
    async def show(a: int, /, b: int, *, c: int, d: int = 4) -> list[int]:
        return [a, b, c, d]

    assert answer(compiled(show), query="a=1&b=2&c=3") == b"[1,2,3,4]"


# ---------------------------------------------------------------- request Structs


class CreatePost(Struct, rename="camel"):
    x_author: Annotated[str, Header()]
    post_id: Annotated[int, Path()]
    dry_run: Annotated[bool, Query("dry")]
    page_size: Annotated[int, Query()] = 10
    title: Annotated[str, Meta(min_length=1)] = msgspec.field(default="untitled")
    all_tags: list[str] = []


def test_a_struct_gathers_several_sources() -> None:
    async def create(post: CreatePost) -> list[Any]:
        return [post.x_author, post.post_id, post.dry_run, post.page_size, post.title, post.all_tags]

    endpoint = compiled(create, "/{postId}", methods="POST")
    parts: dict[str, Any] = {"values": ("5",), "query": "dry=1&pageSize=3", "headers": {"xauthor": "me"}}
    assert answer(endpoint, body=b'{"title":"t","allTags":["a"]}', **parts) == b'["me",5,true,3,"t",["a"]]'


def test_a_marked_field_is_never_read_from_the_body() -> None:
    class Create(Struct):
        owner: Annotated[str, Header("x-owner")]
        title: str

    async def create(post: Create) -> list[str]:
        return [post.owner, post.title]

    endpoint = compiled(create, methods="POST")
    body = b'{"owner":"mallory","title":"t"}'
    assert answer(endpoint, body=body, headers={"x-owner": "alice"}) == b'["alice","t"]'
    assert errors(endpoint, body=body) == [("header", "x-owner", "Missing required header")]


def test_a_marked_field_is_unknown_to_a_body_that_forbids_unknown_ones() -> None:
    class Create(Struct, forbid_unknown_fields=True):
        owner: Annotated[str, Header()]
        title: str

    async def create(post: Create) -> str:
        return post.title

    endpoint = compiled(create, methods="POST")
    found = errors(endpoint, body=b'{"owner":"x","title":"t"}', headers={"owner": "a"})
    assert len(found) == 1
    assert "unknown field" in found[0][2]


@pytest.mark.parametrize("kind", ["dataclass", "typeddict", "namedtuple", "attrs"])
def test_every_kind_of_structure_can_gather(kind: str) -> None:
    Token = Annotated[str, Header("x-token")]

    @dataclasses.dataclass
    class A:
        token: Token
        title: str
        tags: list[str] = dataclasses.field(default_factory=list)

    class B(TypedDict):
        token: Token
        title: str

    class C(NamedTuple):
        token: Token
        title: str
        n: int = 1

    @attrs.define
    class D:
        token: Token
        title: str
        tags: list[str] = attrs.Factory(list)
        n: int = 1

    annotation: Any = {"dataclass": A, "typeddict": B, "namedtuple": C, "attrs": D}[kind]

    async def create(post: Any) -> list[str]:
        return [post["token"], post["title"]] if kind == "typeddict" else [post.token, post.title]

    create.__annotations__["post"] = annotation
    endpoint = compiled(create, methods="POST")
    assert answer(endpoint, body=b'{"title":"t","token":"no"}', headers={"x-token": "yes"}) == b'["yes","t"]'


def test_a_struct_of_marked_fields_alone_reads_no_body() -> None:
    class Page(Struct):
        size: Annotated[int, Query()] = 10
        token: Annotated[str | None, Header()] = None

    async def remove(page: Page) -> list[Any]:
        return [page.size, page.token]

    endpoint = compiled(remove, methods="DELETE")
    assert endpoint.body is None
    assert answer(endpoint, query="size=3") == b"[3,null]"


def test_a_rest_without_required_fields_needs_no_body() -> None:
    class Create(Struct):
        token: Annotated[str, Header()]
        title: str = "none"

    async def create(post: Create) -> str:
        return post.title

    assert answer(compiled(create, methods="POST"), headers={"token": "x"}).strip(b'"') == b"none"


def test_a_post_init_that_refuses_is_the_clients_fault() -> None:
    class Range(Struct):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    async def search(range: Range) -> int:
        return range.high

    class Create(Struct):
        token: Annotated[str, Header()]
        title: str

        def __post_init__(self) -> None:
            if self.token == self.title:
                raise ValueError("they are the same")

    async def create(post: Create) -> str:
        return post.title

    assert answer(compiled(search), query="low=1&high=2") == b"2"
    assert errors(compiled(search), query="low=3&high=2") == [("query", "", "low is above high")]
    assert errors(compiled(create, methods="POST"), headers={"token": "t"}, body=b'{"title":"t"}') == [
        ("body", "", "they are the same")
    ]


def test_a_post_init_that_breaks_is_no_clients_fault() -> None:
    class Broken(Struct):
        n: int

        def __post_init__(self) -> None:
            raise ZeroDivisionError

    async def search(broken: Broken) -> int:
        return broken.n

    async def create(broken: Broken) -> int:
        return broken.n

    with pytest.raises(ZeroDivisionError):
        answer(compiled(search), query="n=1")
    with pytest.raises(ZeroDivisionError):
        answer(compiled(create, methods="POST"), body=b'{"n":1}')


# ---------------------------------------------------------------- import errors


def refused(handler: Any, path: str = "/", methods: str = "GET", **spec: Any) -> CompileError:
    names = tuple(part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{"))
    with pytest.raises(CompileError) as caught:
        read_handler(RouteSpec(path, handler, names, tuple(methods.split()), **spec))
    error = caught.value
    assert error.file == __file__
    assert error.line == handler.__code__.co_firstlineno
    assert error.handler == handler.__qualname__
    assert error.mend
    return error


def test_a_path_parameter_with_a_default() -> None:
    async def get(id: int = 1) -> None: ...

    error = refused(get, "/{id}")
    assert error.parameter == "id"
    assert "can't have a default" in str(error)


def test_a_path_parameter_that_may_be_none() -> None:
    async def get(id: int | None) -> None: ...

    assert "never None" in str(refused(get, "/{id}"))


def test_a_path_parameter_that_is_a_list() -> None:
    async def get(id: list[int]) -> None: ...

    assert "one value" in str(refused(get, "/{id}"))


def test_a_path_variable_without_a_parameter() -> None:
    async def get() -> None: ...

    error = refused(get, "/{id}")
    assert "{id}, and no parameter takes it" in error.problem
    assert error.mend == "add the parameter `id: str`, or take the variable out of the path"


def test_a_path_variable_that_a_dependency_takes_is_taken() -> None:
    def find(id: int) -> int:
        return id

    async def get(post: Annotated[int, Depends(find, inline=True)]) -> int:
        return post

    assert answer(compiled(get, "/{id}"), values=("3",)) == b"3"


def test_a_path_marker_for_a_variable_that_is_not_there() -> None:
    async def get(post: Annotated[int, Path()], id: int) -> None: ...

    async def none(post: Annotated[int, Path()]) -> None: ...

    assert "'/{id}' has {id}" in refused(get, "/{id}").problem
    assert "Path('id')" in refused(get, "/{id}").mend
    assert "has no variables" in refused(none).problem


@pytest.mark.parametrize("marker", [Query(), Header(), Cookie(), Body(), Form(), Query("id")])
def test_a_marker_that_contradicts_the_path(marker: Any) -> None:
    async def get(id: Annotated[int, marker]) -> None: ...

    assert "contradicts the path" in refused(get, "/{id}", "POST", localns={"marker": marker}).problem


def test_a_depends_that_contradicts_the_path() -> None:
    async def get(id: Annotated[int, Depends(lambda: 1)]) -> None: ...

    assert "contradicts the path" in refused(get, "/{id}").problem


def test_a_query_with_another_name_may_share_the_parameters_name_with_the_path() -> None:
    async def get(id: Annotated[int, Query("other")], path_id: Annotated[int, Path("id")]) -> list[int]:
        return [id, path_id]

    assert answer(compiled(get, "/{id}"), values=("1",), query="other=2") == b"[2,1]"


def test_a_converter_in_the_path() -> None:
    async def get(id: int) -> None: ...

    async def tail(rest: str) -> None: ...

    error = refused(get, "/{id:int}")
    assert error.mend == "write {id} and annotate the parameter: `id: int`"
    read_handler(RouteSpec("/{rest:path}", tail, ("rest",)))


def test_a_parameter_without_an_annotation() -> None:
    async def get(id) -> None: ...  # type: ignore[no-untyped-def]

    assert refused(get).problem == "the parameter has no annotation"


def test_stars() -> None:
    async def args(*args: int) -> None: ...

    async def kwargs(**kwargs: int) -> None: ...

    assert "*args" in refused(args).problem
    assert "**kwargs" in refused(kwargs).problem


def test_two_bodies() -> None:
    async def create(a: Post, b: Post) -> None: ...

    error = refused(create, methods="POST")
    assert error.parameter == "b"
    assert "second body; the first is" in error.problem
    assert "create(a)" in error.problem


def test_a_body_and_a_form() -> None:
    async def body_first(a: Post, b: Annotated[str, Form()]) -> None: ...

    async def form_first(a: Annotated[str, Form()], b: Post) -> None: ...

    assert "a form is a body" in refused(body_first, methods="POST").problem
    assert "second body" in refused(form_first, methods="POST").problem


def test_a_form_on_get() -> None:
    async def get(a: Annotated[str, Form()]) -> None: ...

    assert refused(get).problem == "GET has no form"


@pytest.mark.parametrize("annotation", [list[int], set[str], tuple[int, ...], "list[int] | None"])
def test_a_bare_collection_on_a_method_with_a_body(annotation: Any) -> None:
    async def create(numbers: annotation) -> None: ...  # type: ignore[valid-type]

    error = refused(create, methods="POST", localns={"annotation": annotation})
    assert "could mean the query or the body" in error.problem
    assert "Query()" in error.mend


@pytest.mark.parametrize("methods", ["DELETE", "OPTIONS", "GET POST"])
def test_a_structure_where_neither_query_nor_body_is_meant(methods: str) -> None:
    async def remove(post: Post) -> None: ...

    assert "could mean the query or the body" in refused(remove, methods=methods).problem


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        (complex, "complex is no type that can be read from a request"),
        (Any, "Any is no type"),
        (int | Post, "is no type that can be read"),
        (Annotated[int | None, Meta(ge=1)], "Meta(ge=1) is put on the whole union"),
        (Annotated[str, Meta(ge=1)], "Can only set `ge`"),
        (list[complex], "complex is no type that can be read from a request"),
        (Post | PostDataclass, "may not contain more than one dict-like type"),
        (Annotated[Post | None, Meta(description="x", min_length=1)], "on the whole union"),
        (Annotated[int, Query(), Header()], "several markers: Query(), Header()"),
        (Annotated[list[Post], Query()], "the query string can't hold a list"),
        (Annotated[Post | PostTuple, Query()], "a union of structures"),
        (Annotated[dict[int, str], Query()], "with such keys"),
        (Annotated[dict[str, str], Header()], "a header can't hold a dict"),
        (list[int | None], "an item of text is never None"),
        (Annotated[list[int], Meta(ge=1)], "Can only set `ge`"),
    ],
)
def test_an_annotation_that_cannot_be_read(annotation: Any, problem: str) -> None:
    async def create(value: annotation) -> None: ...  # type: ignore[valid-type]

    methods = "GET" if "never None" in problem or "`ge`" in problem else "POST"
    assert problem in refused(create, methods=methods, localns={"annotation": annotation}).problem


def test_a_query_structure_with_a_structure_inside() -> None:
    class Outer(Struct):
        post: Post

    async def search(outer: Outer) -> None: ...

    assert "the field 'post' is a Post, which the query string can't hold" in refused(search).problem


def test_a_marker_below_the_parameters_own_structure() -> None:
    class Inner(Struct):
        token: Annotated[str, Header()]

    class Outer(Struct):
        inner: list[Inner]

    async def create(outer: Outer) -> None: ...

    assert "a field of the nested" in refused(create, methods="POST").problem


@pytest.mark.parametrize("marker", [Depends(lambda: 1), State(), Body()])
def test_a_marker_that_no_field_may_have(marker: Any) -> None:
    class Outer(Struct):
        x: Annotated[int, marker]
        y: Annotated[int, Query()] = 0

    async def create(outer: Outer) -> None: ...

    assert "the field 'x' has the marker" in refused(create, methods="POST").problem


def test_a_gathering_structure_with_a_default() -> None:
    class Create(Struct):
        token: Annotated[str, Header()]
        title: str

    async def create(post: Create | None = None) -> None: ...

    default = Create("a", "b")

    async def with_default(post: Create = default) -> None: ...

    assert "gathers several sources" in refused(with_default, methods="POST").problem
    assert "gathers several sources" in refused(create, methods="POST").problem


def test_an_attrs_default_that_needs_the_object() -> None:
    @attrs.define
    class Odd:
        a: int = 1
        b: int = attrs.Factory(lambda self: self.a, takes_self=True)

    async def search(odd: Odd) -> None: ...

    assert "needs the object itself" in refused(search).problem


def test_a_return_annotation_that_cannot_be_encoded() -> None:
    async def generate() -> int:
        yield 1  # type: ignore[misc]

    assert "a handler can't yield" in refused(generate).problem


def test_a_websocket_on_an_http_route() -> None:
    from fastlane.websocket import WebSocket

    async def socket(it: WebSocket) -> None: ...

    assert "@app.websocket(path)" in refused(socket).mend


def test_an_unset_field_of_a_query_structure_stays_unset() -> None:
    class Changes(Struct):
        title: str | msgspec.UnsetType = msgspec.UNSET
        likes: int | msgspec.UnsetType | None = msgspec.UNSET

    async def change(changes: Annotated[Changes, Query()]) -> Changes:
        return changes

    assert answer(compiled(change, methods="PATCH"), query="likes=3") == b'{"likes":3}'


def test_a_gathering_structure_may_read_a_form() -> None:
    class SignUp(Struct):
        token: Annotated[str, Header()]
        name: Annotated[str, Form()]

    class Both(Struct):
        name: Annotated[str, Form()]
        rest: int

    async def sign_up(it: SignUp) -> list[str]:
        return [it.token, it.name]

    async def both(it: Both) -> None: ...

    assert answer(compiled(sign_up, methods="POST"), headers={"token": "t"}, body=b"name=n") == b'["t","n"]'
    assert "second body" in refused(both, methods="POST").problem


def test_a_field_with_the_name_of_a_path_variable_is_read_from_the_path() -> None:
    class Filter(Struct):
        id: int
        page: int = 1

    async def search(filter: Filter) -> list[int]:
        return [filter.id, filter.page]

    assert answer(compiled(search, "/{id}"), values=("3",), query="page=2") == b"[3,2]"


def test_a_header_structure_with_renamed_and_dashed_names() -> None:
    class Trace(Struct, rename={"span": "X-Span"}):
        trace_id: str
        span: int

    async def show(trace: Annotated[Trace, Header()]) -> list[Any]:
        return [trace.trace_id, trace.span]

    assert answer(compiled(show), headers={"trace-id": "t", "x-span": "3"}) == b'["t",3]'


def test_annotations_of_dataclasses_with_fields_that_are_no_parameters() -> None:
    @dataclasses.dataclass
    class Filter:
        q: str
        words: list[str] = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.words = self.q.split()

    async def search(filter: Filter) -> list[str]:
        return filter.words

    assert answer(compiled(search), query="q=a+b") == b'["a","b"]'


def test_not_required_keys_of_a_typed_dict() -> None:
    class Filter(TypedDict):
        q: str
        page: NotRequired[int]

    async def search(filter: Filter) -> Filter:
        return filter

    assert answer(compiled(search), query="q=a") == b'{"q":"a"}'
    assert errors(compiled(search), query="page=1") == [("query", "q", "Missing required query parameter")]


def test_a_field_with_several_markers() -> None:
    class Odd(Struct):
        x: Annotated[int, Query(), Header()]

    async def search(odd: Odd) -> None: ...

    assert "the field 'x' has several markers" in refused(search).problem


def test_a_media_type_of_a_body_that_is_decoded() -> None:
    async def create(text: Annotated[str, Body(media_type="text/plain")]) -> None: ...

    assert "is for raw bytes, and this is a str" in refused(create, methods="POST").problem


def test_a_literal_is_a_query_value() -> None:
    async def search(order: Literal["up", "down"] = "up") -> str:
        return order

    assert answer(compiled(search), query="order=down").strip(b'"') == b"down"
    assert errors(compiled(search), query="order=x") == [("query", "order", "Invalid enum value 'x'")]


class Closed(Struct, forbid_unknown_fields=True, rename="camel"):
    page_size: int = 10
    order: str = "id"


def test_a_query_structure_that_forbids_unknown_fields_names_each_of_them():
    async def show(page: Closed) -> int:
        return page.page_size

    endpoint = compiled(show)
    assert answer(endpoint, query="pageSize=3") == b"3"
    assert answer(endpoint) == b"10"
    assert errors(endpoint, query="page_size=3&a=1&a=2") == [
        ("query", "page_size", "Object contains unknown field `page_size`"),
        ("query", "a", "Object contains unknown field `a`"),
    ]
    assert errors(endpoint, query="pageSize=x&a=1") == [
        ("query", "pageSize", "Expected `int`, got `str`"),
        ("query", "a", "Object contains unknown field `a`"),
    ]


def test_a_form_that_forbids_unknown_fields_names_them():
    async def show(page: Annotated[Closed, Form()]) -> int:
        return page.page_size

    endpoint = compiled(show, methods="POST")
    assert answer(endpoint, body=b"pageSize=3") == b"3"
    assert errors(endpoint, body=b"b=3") == [("form", "b", "Object contains unknown field `b`")]


def test_what_another_parameter_reads_is_known_to_a_closed_structure():
    async def limit(limit: int = 1) -> int:
        return limit

    async def show(page: Closed | None = None, *, q: str = "", limit: Annotated[int, Depends(limit)]) -> str:
        return f"{page and page.page_size} {q} {limit}"

    endpoint = compiled(show)
    assert answer(endpoint, query="q=a&limit=5") == b"None a 5"
    assert answer(endpoint, query="q=a&limit=5&pageSize=2") == b"2 a 5"
    assert errors(endpoint, query="qq=a") == [("query", "qq", "Object contains unknown field `qq`")]


def test_whoever_reads_the_whole_query_opens_it():
    async def show(page: Closed, everything: Annotated[dict[str, str], Query()]) -> dict[str, str]:
        return everything

    assert answer(compiled(show), query="b=1") == b'{"b":"1"}'


def test_a_structure_without_fields_is_read_from_nothing():
    class Nothing(Struct, forbid_unknown_fields=True): ...

    class Anything(Struct): ...

    async def show(nothing: Nothing, anything: Anything | None = None) -> str:
        return f"{nothing} {anything}"

    assert answer(compiled(show)).endswith(b" None")
    assert errors(compiled(show), query="a=1") == [("query", "a", "Object contains unknown field `a`")]


def test_a_default_that_can_be_changed_is_a_new_one_for_every_request():
    class Inner(Struct):
        tags: list[str]

    async def show(page: Closed = Closed(order="x"), many: list[int] = [1]) -> str:  # noqa: B006, B008
        page.page_size += 1
        many.append(2)
        return f"{page.page_size} {page.order} {many}"

    async def create(inner: Inner = Inner(["a"])) -> list[str]:  # noqa: B008
        inner.tags.append("b")
        return inner.tags

    for _ in range(2):
        assert answer(compiled(show)) == b"11 x [1, 2]"
        assert answer(compiled(create, methods="POST")) == b'["a","b"]'
    endpoint = compiled(create, methods="POST")
    for _ in range(2):
        assert answer(endpoint) == b'["a","b"]'


def test_what_msgspec_has_against_a_constraint_is_said_with_the_place():
    class Wide(Struct):
        n: Annotated[int, Meta(lt=2**63)]

    async def create(wide: Wide) -> None: ...

    async def show() -> Wide: ...  # type: ignore[empty-body]

    for handler, methods, parameter in [(create, ("POST",), "wide"), (show, ("GET",), None)]:
        with pytest.raises(CompileError, match="int64") as caught:
            read_handler(RouteSpec("/", handler, methods=methods))
        assert (caught.value.parameter, caught.value.file) == (parameter, __file__)


def test_a_field_whose_annotation_can_not_be_evaluated_is_said_with_the_place():
    @dataclasses.dataclass
    class Broken:
        n: "int[3]"  # type: ignore[misc]

    async def show(broken: Broken) -> None: ...

    with pytest.raises(CompileError, match="not subscriptable") as caught:
        read_handler(RouteSpec("/", show))
    assert caught.value.parameter == "broken"
