from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from fastlane.pubsub.providers.aws.wire import FRAMEWORK, Death, Framing, datetime_of, pack, token, unpack

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
FOREIGN = Framing("foreign", NOW)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def is_xml(text: str) -> bool:
    return all(c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" for c in text)


@given(st.binary() | TEXTS.map(str.encode), st.dictionaries(TEXTS, TEXTS, max_size=12), TEXTS)
@example(b"", {"fastlane": "theirs", "a.b": "1", "aws.x": "1", "a..b": "1"}, "\uffff")
@example(b"=", {f"a{n}": "1" for n in range(12)}, "\x00")
def test_what_is_packed_is_unpacked_and_may_travel(payload: bytes, attributes: dict[str, str], key: str):
    death = Death("rejected", key, "signups/mail", 3, NOW)
    packed = pack(payload, attributes, Framing("id", NOW, key, not_before=1.5, death=death))
    assert packed.body
    assert is_xml(packed.body)
    assert len(packed.attributes) <= 10
    size = len(packed.body.encode())
    for name, value in packed.attributes.items():
        assert value["StringValue"]
        assert is_xml(name)
        assert is_xml(value["StringValue"])
        size += len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
    assert packed.size == size
    got, found, framing = unpack(packed.body, packed.attributes, foreign=FOREIGN)
    assert (got, found) == (payload, attributes)
    assert (framing.id, framing.published_at, framing.key) == ("id", NOW, key)
    assert (framing.not_before, framing.death) == (1.5, death)


@given(TEXTS.filter(bool), TEXTS | st.just('{"id":"x","at":"2026-11-25T12:30:00Z","base64":true}'))
def test_what_is_not_ours_is_a_message_of_somebody_else(body: str, value: str):
    received: dict[str, Any] = {"kind": {"DataType": "String", "StringValue": "new"}, "blob": {"BinaryValue": b"1"}}
    received[FRAMEWORK] = {"DataType": "String", "StringValue": value}
    payload, attributes, framing = unpack(body, received, foreign=FOREIGN)
    assert attributes["kind"] == "new"
    if framing is FOREIGN:
        assert payload == body.encode()
        assert attributes[FRAMEWORK] == value
    else:
        assert framing.base64


def test_our_attribute_is_small():
    packed = pack(b"{}", {}, Framing("019ab2c3-0000-7000-8000-000000000000", NOW))
    value = '{"id":"019ab2c3-0000-7000-8000-000000000000","at":"2026-11-25T12:30:00Z"}'
    assert packed.attributes == {FRAMEWORK: {"DataType": "String", "StringValue": value}}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_token_is_what_sqs_takes_and_the_same_for_the_same_text(text: str):
    found = token(text)
    assert 1 <= len(found) <= 128
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found
    assert token(text) == found


def test_a_token_stays_readable_where_it_can():
    assert token("customer-7/order:12") == "customer-7/order:12"
    assert len(token("a b")) == 64


def test_a_time_of_sqs_is_aware():
    assert datetime_of("1500") == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert datetime_of(None) == datetime(1970, 1, 1, tzinfo=UTC)
