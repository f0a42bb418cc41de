"""What a topic refuses when it is declared, and what it knows."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import pytest
from msgspec import Struct

from fastlane.errors import CompileError
from fastlane.pubsub import Attribute, Topic
from fastlane.resources.declaration import NotBound, declared_resources


class Signup(Struct):
    id: int
    country: Annotated[str, Attribute()] = "se"
    referrer: str | None = None


class Moved(Struct, tag=True):
    id: int


class Left(Struct, tag=True):
    id: int
    reason: Annotated[str, Attribute("why")] = ""


Item = TypeVar("Item")
UserId = NewType("UserId", int)


class Foreign:
    pass


class Later(Struct):
    thing: Unborn  # noqa: F821 - defined by a test


@dataclasses.dataclass
class Plain:
    id: int


class Keyed(TypedDict):
    id: int


class Pair(NamedTuple):
    id: int


def refused(declare: Any) -> str:
    with pytest.raises(CompileError) as caught:
        declare()
    error = caught.value
    assert error.file == __file__
    assert error.line > 0
    assert "mend: " in str(error)
    return str(error)


def test_a_topic_is_at_least_once_and_without_order_by_default() -> None:
    topic = Topic("signups", Signup)
    assert (topic.delivery, topic.exactly_once, topic.ordered, topic.subscriptions) == (
        "at-least-once",
        False,
        False,
        {},
    )
    assert topic.place.file == __file__


@pytest.mark.parametrize("name", ["Signups", "user_signups", "a" * 31, "", 5])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    assert "is no name for a topic" in refused(lambda: Topic(name, Signup))


def test_an_unknown_delivery_is_refused() -> None:
    assert "delivery='exactly_once'" in refused(lambda: Topic("signups", Signup, delivery="exactly_once"))  # type: ignore[call-overload]


def test_a_type_that_msgspec_does_not_know_is_refused() -> None:
    assert "msgspec does not know Foreign" in refused(lambda: Topic("signups", Foreign))
    assert "msgspec does not know Foreign" in refused(lambda: Topic("signups", list[Foreign]))
    assert "can't be carried as JSON" in refused(lambda: Topic("signups", Signup | dict[str, int]))


def test_order_by_names_a_field_and_a_near_miss_is_named() -> None:
    assert Topic("signups", Signup, order_by="id").ordered
    assert "did you mean 'country'?" in refused(lambda: Topic("signups", Signup, order_by="contry"))
    assert "is no field of int" in refused(lambda: Topic("numbers", int, order_by="id"))


def test_a_field_that_may_be_none_orders_nothing() -> None:
    assert "may be None" in refused(lambda: Topic("signups", Signup, order_by="referrer"))


def test_what_has_no_plain_text_is_no_key() -> None:
    class Basket(Struct):
        signup: Signup
        items: list[int]
        anything: Any
        shop: ClassVar[str] = "here"

    assert "order_by='signup' is no text" in refused(lambda: Topic("baskets", Basket, order_by="signup"))
    assert "order_by='items' is no text" in refused(lambda: Topic("baskets", Basket, order_by="items"))
    assert "order_by='shop' is no field" in refused(lambda: Topic("baskets", Basket, order_by="shop"))
    assert "order_by=3 is no field" in refused(lambda: Topic("baskets", Basket, order_by=3))  # type: ignore[call-overload]
    assert Topic("baskets", Basket, order_by="anything").ordered


def test_a_marker_that_is_a_default_is_refused() -> None:
    class Marked(Struct):
        country: str = Attribute()  # type: ignore[assignment]

    assert "default is Attribute()" in refused(lambda: Topic("marked", Marked))


def test_every_member_of_a_union_has_the_field_of_the_order() -> None:
    topic = Topic("people", Moved | Left, order_by="id")
    assert topic.schema.key(Left(7)) == "7"
    assert "is no field of Moved" in refused(lambda: Topic("people", Moved | Left, order_by="reason"))


def test_attributes_are_lifted_from_whichever_member_it_is() -> None:
    topic = Topic("people", Moved | Left)
    assert topic.schema.attributes(Moved(1)) == {}
    assert topic.schema.attributes(Left(1, "rain")) == {"why": "rain"}


def test_a_subclass_lifts_what_its_base_lifts() -> None:
    class Special(Signup):
        pass

    assert Topic("signups", Signup).schema.attributes(Special(1)) == {"country": "se"}


@pytest.mark.parametrize(
    ("kind", "event", "payload"),
    [
        (Signup, Signup(1), b'{"id":1,"country":"se","referrer":null}'),
        (Plain, Plain(1), b'{"id":1}'),
        (Keyed, {"id": 1}, b'{"id":1}'),
        (Pair, Pair(1), b"[1]"),
        (dict[str, int], {"a": 1}, b'{"a":1}'),
        (Literal["a", "b"], "a", b'"a"'),
        (float, 1, b"1"),
        (Moved | Left, Moved(1), b'{"type":"Moved","id":1}'),
        (Annotated[int, "meta"], 5, b"5"),
        (Any, [1, "a"], b'[1,"a"]'),
        (UserId, 7, b"7"),
        (Signup | None, None, b"null"),
    ],
)
def test_what_msgspec_can_carry_comes_back(kind: Any, event: Any, payload: bytes) -> None:
    topic = Topic("anything", kind)
    assert topic.schema.encode(event) == payload
    assert topic.decode(payload) == event


def test_an_event_of_another_type_is_refused_by_name() -> None:
    topic = Topic("signups", Signup)
    with pytest.raises(TypeError, match=r"topic 'signups' carries Signup, not Left: Left\("):
        topic.schema.encode(Left(1))  # type: ignore[arg-type]


def test_what_can_not_be_encoded_is_told_with_the_topic() -> None:
    topic = Topic("anything", dict)
    with pytest.raises(TypeError, match=r"topic 'anything': .* can't be encoded"):
        topic.schema.encode({"a": object()})


def test_an_empty_key_is_refused() -> None:
    topic = Topic("signups", Signup, order_by="country")
    assert topic.schema.key(Signup(1)) == "se"
    with pytest.raises(ValueError, match="ordered by is empty"):
        topic.schema.key(Signup(1, country=""))


def test_a_typed_dict_lifts_and_orders() -> None:
    class Order(TypedDict, total=False):
        id: int
        shop: Annotated[str, Attribute()]

    topic = Topic("orders", Order, order_by="id")
    assert topic.schema.attributes({"id": 3}) == {}
    assert topic.schema.attributes({"id": 3, "shop": "x"}) == {"shop": "x"}
    assert topic.schema.key({"id": 3}) == "3"
    with pytest.raises(ValueError, match="ordered by is empty"):
        topic.schema.key({"shop": "x"})


def test_a_typed_dict_of_typing_extensions_is_one() -> None:
    typing_extensions = pytest.importorskip("typing_extensions")
    order = typing_extensions.TypedDict("order", {"id": int, "shop": Annotated[str, Attribute()]}, total=False)
    topic: Topic[Any] = Topic("orders", order, order_by="id")
    assert topic.decode(topic.schema.encode({"id": 3})) == {"id": 3}
    assert topic.schema.attributes({"id": 3, "shop": "x"}) == {"shop": "x"}
    assert topic.schema.key({"id": 3}) == "3"


def test_a_field_that_can_not_be_an_attribute_is_refused() -> None:
    class Wrong(Struct):
        tags: Annotated[list[str], Attribute()]

    assert "field 'tags' can't be an attribute" in refused(lambda: Topic("wrong", Wrong))


def test_a_class_that_is_not_there_yet_is_looked_for_again() -> None:
    topic = Topic("later", Later)
    (mistake,) = topic.complete()
    assert "has a field whose type does not exist" in str(mistake)
    assert f"{__file__}:{topic.place.line}" in str(mistake)
    globals()["Unborn"] = Signup
    try:
        assert topic.complete() == []
        assert topic.decode(b'{"thing":{"id":1}}') == Later(Signup(1))
    finally:
        del globals()["Unborn"]


def test_what_was_refused_is_not_declared() -> None:
    refused(lambda: Topic("never-declared", Foreign))
    assert "never-declared" not in declared_resources(Topic)


def test_a_topic_that_nothing_stands_behind_says_what_to_do() -> None:
    topic = Topic("signups", Signup)
    with pytest.raises(NotBound, match="topic 'signups' is not bound"):
        topic.messages
    with pytest.raises(NotBound):
        topic.dead_letters("mail")


def test_a_topic_of_another_event_loop_says_that_threads_have_their_own() -> None:
    topic = Topic("signups", Signup)

    async def publish() -> None:
        await topic.publish(Signup(1))

    other = asyncio.new_event_loop()
    topic.bind(None, other)  # type: ignore[arg-type]  # nobody looks at it
    try:
        with pytest.raises(NotBound, match=r"on another event loop\.\s+mend: .* a plain def runs in a thread"):
            asyncio.run(publish())
    finally:
        topic.unbind(other)
        other.close()


def test_an_event_may_be_generic() -> None:
    class Page(Struct, Generic[Item]):
        items: list[Item]
        kind: Annotated[str, Attribute()] = "page"

    topic: Topic[Page[int]] = Topic("pages", Page[int])
    assert topic.schema.attributes(Page([1])) == {"kind": "page"}
    assert topic.decode(b'{"items":[1]}') == Page([1])
