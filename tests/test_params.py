"""Markers are data."""

from __future__ import annotations

from typing import Any

import pytest

from fastlane import params
from fastlane.errors import CompileError
from fastlane.params import Body, Cookie, Depends, Form, Header, Marker, Path, Query, State

NAMED: list[Any] = [Path, Query, Header, Cookie, Form]


def get_user() -> None:
    """A dependency."""


@pytest.mark.parametrize("marker", NAMED)
def test_a_marker_knows_its_source_and_its_name_on_the_wire(marker):
    assert marker.source == marker.__name__.lower()
    assert marker().name is None
    assert marker("x-name").name == "x-name"
    assert repr(marker()) == f"{marker.__name__}()"
    assert repr(marker("x-name")) == f"{marker.__name__}('x-name')"
    assert isinstance(marker(), Marker)


def test_a_body_has_a_type_and_a_size_instead_of_a_name():
    body = Body(media_type="image/png", max_size=10)

    assert (body.source, body.name, body.media_type, body.max_size) == ("body", None, "image/png", 10)
    assert (Body().media_type, Body().max_size) == (None, None)
    assert repr(body) == "Body()"


def test_a_dependency_has_a_function_and_a_scope():
    depends = Depends(get_user)

    assert (depends.function, depends.scope, depends.inline) == (get_user, "request", False)
    assert Depends(get_user, scope="app", inline=True).scope == "app"
    assert repr(depends) == "Depends(get_user)"
    assert repr(Depends(print)) == "Depends(print)"


def test_state_says_what_it_is():
    assert repr(State()) == "State()"


@pytest.mark.parametrize("marker", NAMED)
@pytest.mark.parametrize("default", [0, 1.5, True, ["x"]])
def test_a_default_is_refused_with_where_it_goes(marker, default):
    with pytest.raises(CompileError) as caught:
        marker(default)

    assert (
        caught.value.mend
        == f"write the default behind the parameter: `x: Annotated[int, {marker.__name__}()] = {default!r}`"
    )


@pytest.mark.parametrize(
    ("option", "mend"),
    [
        ("ge", "Meta(ge=…)"),
        ("max_length", "Meta(max_length=…)"),
        ("alias", 'Query("name")'),
        ("default", "behind the parameter"),
        ("embed", "Struct with one field"),
    ],
)
def test_options_of_other_frameworks_are_refused_with_ours(option, mend):
    with pytest.raises(CompileError, match=rf"Query\(\) has no {option}=") as caught:
        Query(**{option: 1})

    assert mend in caught.value.mend
    with pytest.raises(CompileError):
        Body(**{option: 1})


def test_what_is_public_exists():
    assert all(hasattr(params, name) for name in params.__all__)
