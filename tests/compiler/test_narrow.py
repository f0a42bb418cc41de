"""Undeclared fields never leave."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pytest
from msgspec import UNSET, Struct, UnsetType

from fastlane.compiler.fitting import classes_of, fits_function, sufficient_classes
from fastlane.compiler.narrow import Narrowing, UnfitResult, json_format, msgpack_format, narrowing_of
from fastlane.errors import Internal

T = TypeVar("T")


class User(Struct):
    id: int
    name: str


class Account(User):
    password: str


class Cat(Struct):
    name: str


class Dog(Struct):
    name: str


class Puppy(Dog):
    secret: str


class Big(Struct, tag="big"):
    size: int


class Small(Struct, tag="small"):
    size: int


class Tiny(Small):
    secret: str = "s"


class Post(Struct):
    author: User
    readers: list[User] = []
    by_name: dict[str, User] = {}
    editor: User | None = None
    reviewer: User | UnsetType = UNSET


class Page(Struct, Generic[T]):
    items: list[T]


class Tree(Struct):
    user: User
    kids: list[Tree] = []


class Row(TypedDict):
    id: int
    owner: NotRequired[User]


@dataclasses.dataclass
class Place:
    city: str


@dataclasses.dataclass
class SecretPlace(Place):
    secret: str


@attrs.define(slots=False)
class Thing:
    size: int

    @functools.cached_property
    def secret(self) -> str:
        return "secret"


@attrs.define
class Slotted:
    size: int


class Pair(NamedTuple):
    left: User
    right: int = 0


class PairSubclass(Pair):
    pass


class Color(enum.Enum):
    RED = "red"


class OrmUser:
    """What an ORM would return: attributes, and nothing that msgspec encodes."""

    def __init__(self, password: str = "secret") -> None:
        self.id = 1
        self.name = "ada"
        self.password = password


ADA = User(1, "ada")
SECRET = Account(1, "ada", "secret")


def production(*options: Any) -> Narrowing:
    return narrowing_of(list(options), json_format, validate=False)


def checking(*options: Any) -> Narrowing:
    return narrowing_of(list(options), json_format, validate=True)


def leaves(narrowing: Narrowing, value: Any) -> Any:
    """What a client would see."""
    return msgspec.json.decode(msgspec.json.encode(narrowing(value)))


THIN = {"id": 1, "name": "ada"}
SHAPES = [
    (User, SECRET, THIN),
    (list[User], [ADA, SECRET], [THIN, THIN]),
    (Sequence[User], [SECRET], [THIN]),
    (dict[str, User], {"a": SECRET}, {"a": THIN}),
    (Mapping[str, list[User]], {"a": [SECRET]}, {"a": [THIN]}),
    (tuple[User, ...], (SECRET,), [THIN]),
    (tuple[int, User], (1, SECRET), [1, THIN]),
    (User | None, SECRET, THIN),
    (list[User | None], [None, SECRET], [None, THIN]),
    (list[User] | None, [SECRET], [THIN]),
    (int | list[User], [SECRET], [THIN]),
    (Page[User], Page([SECRET]), {"items": [THIN]}),
    (list[dict[str, tuple[User, int]]], [{"a": (SECRET, 1)}], [{"a": [THIN, 1]}]),
    (Tree, Tree(ADA, [Tree(ADA, [Tree(SECRET)])]), {
        "user": THIN, "kids": [{"user": THIN, "kids": [{"user": THIN, "kids": []}]}]
    }),
    (Row, {"id": 1, "password": "secret"}, {"id": 1}),
    (Row, {"id": 1, "owner": SECRET}, {"id": 1, "owner": THIN}),
    (list[Row], [{"id": 1, "password": "secret"}], [{"id": 1}]),
    (Place, SecretPlace("x", "secret"), {"city": "x"}),
    (list[Place], [SecretPlace("x", "secret")], [{"city": "x"}]),
    (Pair, Pair(SECRET), [THIN, 0]),
    (Pair, PairSubclass(ADA, 2), [THIN, 2]),
    (Big | Small, Big(1), {"type": "big", "size": 1}),
    (User, OrmUser(), THIN),
    (list[User], [OrmUser()], [THIN]),
    (User, {"id": 1, "name": "ada", "password": "secret"}, THIN),
]  # fmt: skip


@pytest.mark.parametrize("mode", [production, checking])
@pytest.mark.parametrize(("annotation", "value", "seen"), SHAPES)
def test_what_is_not_declared_is_dropped_at_every_depth(mode, annotation, value, seen):
    assert leaves(mode(annotation), value) == seen


@pytest.mark.parametrize("mode", [production, checking])
def test_every_position_of_a_struct_is_narrowed(mode):
    for post in (
        Post(SECRET),
        Post(ADA, [SECRET]),
        Post(ADA, [], {"a": SECRET}),
        Post(ADA, editor=SECRET),
        Post(ADA, reviewer=SECRET),
    ):
        assert "secret" not in str(leaves(mode(Post), post))


@pytest.mark.parametrize("mode", [production, checking])
def test_what_an_attrs_object_was_given_later_stays(mode):
    thing = Thing(1)
    assert thing.secret == "secret"  # cached in its __dict__, of which msgspec encodes everything

    assert leaves(mode(Thing), thing) == {"size": 1}
    assert leaves(mode(Slotted), Slotted(1)) == {"size": 1}


@pytest.mark.parametrize("mode", [production, checking])
def test_what_fits_is_the_same_object(mode):
    for annotation, value in [
        (User, ADA),
        (list[User], [ADA]),
        (Post, Post(ADA)),
        (Row, {"id": 1}),
        (Any, SECRET),
        (int, 3),
    ]:
        assert mode(annotation)(value) is value


@pytest.mark.parametrize("mode", [production, checking])
def test_a_union_of_structs_without_tags_goes_by_class(mode):
    narrowing = mode(Cat, Dog, None, list[int])

    assert narrowing.fits is not None
    assert leaves(narrowing, Cat("a")) == {"name": "a"}
    assert leaves(narrowing, Puppy("a", "secret")) == {"name": "a"}
    assert leaves(narrowing, None) is None
    assert leaves(narrowing, [1]) == [1]
    assert [narrowing.fits(value) for value in (Cat("a"), Dog("a"), None, [1], Puppy("a", ""))] == [True] * 4 + [False]
    with pytest.raises((Internal, UnfitResult)):
        narrowing(3)
    with pytest.raises((Internal, UnfitResult)):
        mode(Cat, Dog)(3)
    assert not mode(Cat, Dog).fits(3)


def test_two_of_one_class_are_not_told_apart():
    with pytest.raises(TypeError, match="Page stands in it twice"):
        production(Page[int], Page[str])


def test_a_union_inside_another_type_needs_tags():
    with pytest.raises(TypeError, match="tagged"):
        production(list[Cat | Dog])


def test_a_subclass_of_a_tagged_struct_is_read_by_its_attributes():
    assert leaves(production(Small), Tiny(3)) == {"type": "small", "size": 3}


def test_a_subclass_of_a_closed_struct_is_read_by_its_attributes():
    class Closed(Struct, forbid_unknown_fields=True):
        a: int

    class Open(Closed):
        b: int

    assert leaves(production(Closed), Open(1, 2)) == {"a": 1}


def test_a_field_that_can_t_be_encoded_is_no_obstacle_to_leave_it_out():
    class Secretive(User):
        secret: object

    assert leaves(production(User), Secretive(1, "ada", object())) == THIN


def test_production_refuses_without_a_word():
    with pytest.raises(Internal) as caught:
        production(User)(3)

    assert caught.value.detail == ""
    assert isinstance(caught.value.__cause__, UnfitResult)
    assert "the value itself: Expected `object`, got `int`" in str(caught.value.__cause__)


def test_checking_names_every_path():
    with pytest.raises(UnfitResult) as caught:
        checking(list[User])([User(1, 2), User("x", "y"), ADA])  # type: ignore[arg-type]

    assert str(caught.value) == (
        "the handler declares list[User] and returned list: "
        "[0].name: Expected `str`, got `int`; [1].id: Expected `int`, got `str`"
    )


def test_checking_reads_what_production_leaves_alone():
    wrong = User("x", "y")  # type: ignore[arg-type]

    assert production(User)(wrong) is wrong
    with pytest.raises(UnfitResult, match="id: Expected `int`, got `str`"):
        checking(User)(wrong)


def test_checking_says_that_there_is_more():
    with pytest.raises(UnfitResult, match="…"):
        checking(list[int])(["x"] * 200)


def test_checking_keeps_msgspec_s_own_word_where_the_walk_ends_before_the_fault():
    with pytest.raises(UnfitResult, match=r"Expected `int`, got `str` - at `\$\[20000\]`"):
        checking(list[int])([1] * 20_000 + ["x"])


def test_what_can_be_neither_encoded_nor_read_is_refused():
    with pytest.raises(UnfitResult, match=r"returned object: Expected `object`, got `object`|returned object: "):
        checking(User)(object())


def test_messagepack_takes_its_own_trip():
    narrowing = narrowing_of([User], msgpack_format, validate=True)

    assert msgspec.msgpack.decode(msgpack_format.encode(narrowing(SECRET))) == THIN


# -- the classes


@pytest.mark.parametrize(
    ("annotation", "classes"),
    [
        (User, (User,)),
        (Page[User], None),
        (Page[int], (Page,)),
        (dict[str, str], (dict,)),
        (list[int], (list,)),
        (list[User], None),
        (User | None, (User, type(None))),
        (Row, None),
        (Thing, None),
        (Slotted, (Slotted,)),
        (Place, (Place,)),
        (float, (float, int)),
        (Literal["a", 1], (str, int)),
        (Color, (Color,)),
        (datetime.date, (datetime.date,)),
        (Any, None),
        (int | Any, None),
        (list[Any], (list,)),
        (msgspec.Raw, None),
    ],
)
def test_one_look_at_the_class_suffices_where_nothing_inside_could_carry_more(annotation, classes):
    found = sufficient_classes(msgspec.inspect.type_info(annotation))

    assert (found and set(found)) == (classes and set(classes))


def test_octets_that_are_encoded_already_fit_beside_a_struct():
    fits = fits_function(msgspec.inspect.type_info(dict[str, User | msgspec.Raw]))

    assert fits is not None
    assert fits({"a": msgspec.Raw(b"1"), "b": ADA})


def test_any_fits_everything():
    node = msgspec.inspect.type_info(Any)

    assert fits_function(node) is None
    assert classes_of(node) is None


def test_unset_fits_a_field_that_may_be_unset():
    fits = fits_function(msgspec.inspect.type_info(Post))

    assert fits is not None
    assert fits(Post(ADA))
    assert fits(Post(ADA, reviewer=ADA))
    assert not fits(Post(ADA, reviewer=SECRET))


def test_a_tuple_of_another_length_does_not_fit():
    fits = fits_function(msgspec.inspect.type_info(tuple[int, User]))

    assert fits is not None
    assert fits((1, ADA))
    assert not fits((1, ADA, SECRET))
    assert not fits([1, ADA])


def test_a_type_with_many_positions_is_checked_in_several_functions():
    leaf = msgspec.defstruct("Leaf", [("user", User)])
    inner = msgspec.defstruct("Inner", [(f"leaf_{index}", leaf) for index in range(30)])
    outer = msgspec.defstruct("Outer", [(f"inner_{index}", inner) for index in range(3)])
    fits = fits_function(msgspec.inspect.type_info(outer))
    inner_value = inner(*[leaf(ADA)] * 30)
    odd = inner(*[leaf(ADA)] * 29, leaf(SECRET))

    assert fits is not None
    assert fits(outer(inner_value, inner_value, inner_value))
    assert not fits(outer(inner_value, inner_value, odd))


def test_a_union_with_scalars_looks_into_its_containers():
    fits = fits_function(msgspec.inspect.type_info(int | list[User] | dict[str, Page[User]] | None))

    assert fits is not None
    for value in (1, None, [ADA], {"a": Page([ADA])}):
        assert fits(value)
    for value in ("x", [SECRET], {"a": Page([SECRET])}, (ADA,)):
        assert not fits(value)
