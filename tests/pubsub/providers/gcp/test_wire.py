from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastlane.pubsub.providers.gcp.names import dead_topic, short, subscription_path, topic_path
from fastlane.pubsub.providers.gcp.wire import Death, Framing, PubsubMessage, Received, pack, unpack

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(), st.dictionaries(TEXTS, TEXTS, max_size=30), TEXTS.filter(bool))
@example(b"", {"fastlane": "1", "fastlane-for": "2", "googclient": "3", "": "4", "x" * 300: "5"}, "k")
@example(b"", {"long": "é" * 3000, "other": "\x00" * 3000}, "k")
def test_what_is_packed_is_unpacked_and_may_travel(payload: bytes, attributes: dict[str, str], key: str):
    death = Death("rejected", key, "signups/mail", 3, NOW)
    packed = pack(payload, attributes, Framing("id", NOW, 1.5, death=death), ordering_key=key, meant_for="one")
    assert 0 < len(packed.attributes) <= 100
    for name, value in packed.attributes.items():
        assert 0 < len(name.encode()) <= 256
        assert len(value.encode()) <= 1024
        assert not name.startswith("goog")
    travelled = msgspec.json.decode(msgspec.json.encode(packed), type=PubsubMessage)
    got = unpack(travelled)
    assert (got.payload, got.attributes, got.meant_for) == (payload, attributes, "one")
    assert (got.framing.id, got.framing.published_at, got.framing.key) == ("id", NOW, key)
    assert (got.framing.not_before, got.framing.death) == (1.5, death)


@given(st.binary(), st.dictionaries(TEXTS | st.just("fastlane"), TEXTS, max_size=5), TEXTS)
def test_what_is_not_ours_is_a_message_of_somebody_else(payload: bytes, attributes: dict[str, str], key: str):
    got = unpack(PubsubMessage(payload, attributes, "17", NOW, key))
    assert (got.payload, got.meant_for) == (payload, attributes.pop("fastlane-for", None))
    assert got.attributes == attributes
    assert got.framing == Framing("17", NOW, key=key or None)


def test_more_than_fits_into_the_attributes_is_an_error():
    with pytest.raises(ValueError, match="more than 80000 bytes"):
        pack(b"", {"long": "x" * 80_000}, Framing("id", NOW))


@given(st.binary())
def test_payloads_are_base64_on_the_wire(payload: bytes):
    text = b64encode(payload).decode()
    sent = msgspec.json.decode(msgspec.json.encode(pack(payload, {}, Framing("id", NOW))))
    assert sent.get("data", "") == text
    got = msgspec.json.decode(msgspec.json.encode({"data": text}), type=PubsubMessage)
    assert unpack(got).payload == payload


def test_what_google_sends_is_read():
    body = b"""{"ackId":"a","deliveryAttempt":3,"message":{"messageId":"17","publishTime":"2026-11-25T12:30:00.5Z"},
        "somethingNew":1}"""
    got = msgspec.json.decode(body, type=Received)
    assert (got.ack_id, got.delivery_attempt, got.message.message_id) == ("a", 3, "17")
    assert got.message.publish_time == NOW.replace(microsecond=500_000)
    assert unpack(got.message).payload == b""


def test_names_are_of_the_project_or_full():
    assert topic_path("p", "t") == "projects/p/topics/t"
    assert topic_path("p", "projects/q/topics/t") == "projects/q/topics/t"
    assert subscription_path("p", "s") == "projects/p/subscriptions/s"
    assert subscription_path("p", "projects/q/subscriptions/s") == "projects/q/subscriptions/s"
    assert dead_topic("p", "s-dead") == "projects/p/topics/s-dead"
    assert dead_topic("p", "projects/q/subscriptions/s-dead") == "projects/q/topics/s-dead"
    assert short("projects/q/subscriptions/s") == short("s") == "s"
