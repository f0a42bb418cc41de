import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import BadRequest
from fastlane.routing.segments import encode_segment, encode_tail, split_path


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        (b"/", ["", ""]),
        (b"/posts/3", ["", "posts", "3"]),
        (b"/posts/", ["", "posts", ""]),
        (b"//posts", ["", "", "posts"]),
        (b"/a/../b/.", ["", "a", "..", "b", "."]),
        (b"/a%2Fb", ["", "a/b"]),
        (b"/%2e%2e/x", ["", "..", "x"]),
        (b"/caf%C3%A9", ["", "café"]),
        (b"/caf\xc3\xa9", ["", "café"]),
        (b"/100%25", ["", "100%"]),
        (b"/%2541", ["", "%41"]),
        (b"/a+b", ["", "a+b"]),
        (b"*", ["*"]),
        (b"", [""]),
    ],
)
def test_a_path_is_split_raw_and_each_segment_is_decoded_once(raw: bytes, segments: list[str]) -> None:
    assert split_path(raw) == segments


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"/%", "two hex digits"),
        (b"/%4", "two hex digits"),
        (b"/%zz", "two hex digits"),
        (b"/%+1", "two hex digits"),
        (b"/a%00b", "NUL"),
        (b"/a\0b", "NUL"),
        (b"/%ff", "UTF-8"),
        (b"/\xff", "UTF-8"),
        (b"/%c0%af", "UTF-8"),
        (b"/%ed%a0%80", "UTF-8"),
    ],
)
def test_what_can_not_be_decoded_is_a_bad_request(raw: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        split_path(raw)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_an_encoded_segment_is_read_back(text: str) -> None:
    encoded = encode_segment(text)

    assert split_path(b"/" + encoded.encode("ascii")) == ["", text]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_an_encoded_tail_keeps_its_slashes(text: str) -> None:
    assert split_path(encode_tail(text).encode("ascii")) == text.split("/")


@given(st.binary())
def test_any_bytes_are_split_or_refused(raw: bytes) -> None:
    try:
        segments = split_path(raw)
    except BadRequest:
        return
    assert len(segments) == raw.count(b"/") + 1
