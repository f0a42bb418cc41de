import pytest

from fastlane.errors import CompileError
from fastlane.routing.template import Segment, parse_template


def test_names_stand_in_the_order_of_the_template() -> None:
    template = parse_template("/users/{user_id}/posts/{id}/{rest:path}")

    assert template.names == ("user_id", "id", "rest")
    assert template.has_tail
    assert not template.static


def test_a_variable_may_have_a_prefix_and_a_suffix() -> None:
    assert parse_template("/v{version}.json").segments == (Segment("v", "version", ".json"),)


def test_a_variable_may_be_called_as_path_markers_do() -> None:
    assert parse_template("/{post-id}").names == ("post-id",)


def test_the_root_and_a_trailing_slash_have_an_empty_segment() -> None:
    assert parse_template("/").segments == (Segment(),)
    assert parse_template("/posts/").segments == (Segment("posts"), Segment())


def test_equal_shapes_differ_in_names_only() -> None:
    assert parse_template("/a/{x}").shape == parse_template("/a/{y}").shape
    assert parse_template("/a/{x}").shape != parse_template("/a/{x}.json").shape
    assert parse_template("/a/{x}").shape != parse_template("/a/{x:path}").shape


@pytest.mark.parametrize(
    ("path", "problem", "mend"),
    [
        ("posts", "starts with '/'", "'/posts'"),
        ("", "starts with '/'", "'/'"),
        ("/posts?x=1", "no query", "parameters of the handler"),
        ("/posts#top", "no query and no fragment", "parameters"),
        ("/a%20b", "written decoded", "the character itself"),
        ("/a\0", "NUL", "leave it out"),
        ("/{id:int}", "has a converter", "write {id} and annotate the parameter: id: int"),
        ("/{id:uuid}", "has a converter", "id: uuid.UUID"),
        ("/{id:Slug}", "has a converter", "id: Slug"),
        ("/{a:path}/b", "takes the rest", "last segment"),
        ("/x{a:path}", "shares its segment", "segment of its own"),
        ("/{a}/{a}", "stands twice", "name of its own"),
        ("/{a}-{b}", "two variables", "split it in the handler"),
        ("/{a", "brace", "{name}"),
        ("/a}", "brace", "{name}"),
        ("/{}", "is no name", "parameter"),
        ("/{1a}", "is no name", "parameter"),
    ],
)
def test_a_template_that_can_not_be_is_an_error_with_a_mend(path: str, problem: str, mend: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_template(path, handler="h", file="blog.py", line=7)

    assert problem in caught.value.problem
    assert mend in caught.value.mend
    assert str(caught.value).startswith("blog.py:7: handler 'h'")


@pytest.mark.parametrize(
    ("path", "values", "built"),
    [
        ("/posts/{id}", {"id": "3"}, "/posts/3"),
        ("/posts/{id}", {"id": "a/b ?#%"}, "/posts/a%2Fb%20%3F%23%25"),
        ("/files/{path:path}", {"path": "a b/c.txt"}, "/files/a%20b/c.txt"),
        ("/files/{path:path}", {"path": ""}, "/files/"),
        ("/r/{name}.json", {"name": "é"}, "/r/%C3%A9.json"),
        ("/café/", {}, "/caf%C3%A9/"),
    ],
)
def test_build_quotes_every_value(path: str, values: dict[str, str], built: str) -> None:
    assert parse_template(path).build(values) == built


@pytest.mark.parametrize(
    ("one", "two", "overlap"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", "{x}", True),
        ("{x}", "a", True),
        ("", "{x}", False),
        ("{x}.json", "{x}.xml", False),
        ("{x}.json", "v{x}", True),
        ("a{x}", "b{x}", False),
        ("{x}.json", ".json", False),
    ],
)
def test_segments_overlap_when_some_text_fits_both(one: str, two: str, overlap: bool) -> None:
    first, second = (parse_template(f"/{text}").segments[0] for text in (one, two))

    assert first.overlaps(second) is overlap
    assert second.overlaps(first) is overlap
