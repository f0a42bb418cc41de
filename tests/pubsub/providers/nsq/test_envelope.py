from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fastlane.pubsub.envelope import DeadLetter, Outgoing
from fastlane.pubsub.providers.nsq.envelope import MOST_ERROR, open_letter, open_message, open_raw, seal, seal_letter

ID = b"18a831dbd9269000"
AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC)
text = st.text(st.characters(exclude_categories=["Cs"]))
moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text, lambda inner: st.lists(inner) | st.dictionaries(text, inner)
)
payloads = st.binary() | values.map(lambda value: json.dumps(value).encode())


@given(text, payloads, st.dictionaries(text, text), st.none() | text, moments)
def test_what_was_sealed_comes_out_again(identity, payload, attributes, key, at):
    body = seal(Outgoing(identity, payload, attributes, key, at, 0.0, identity))
    got = open_message(body, ID, 0, 3, "lease")
    assert (got.id, got.attributes, got.ordering_key, got.published_at) == (identity, attributes, key, at)
    assert got.payload in (payload, payload.strip())
    assert (got.broker_id, got.attempt, got.receives, got.lease) == ("18a831dbd9269000", 3, 3, "lease")
    assert body


@given(st.binary(), st.integers(0, 2**64 - 1), st.integers(0, 65535))
def test_no_body_breaks_it(body, timestamp, attempts):
    got = open_message(body, ID, timestamp, attempts, None)
    assert (got.id, got.payload, got.attempt) == ("18a831dbd9269000", body, attempts)
    assert open_letter(body, ID, timestamp, "127.0.0.1:1").reason == "unknown"


@given(text, payloads, st.dictionaries(text, text), st.none() | text, moments, moments, st.integers(0, 65535), text)
def test_a_dead_letter_comes_out_again(identity, payload, attributes, key, at, died_at, attempt, error):
    letter = DeadLetter(identity, payload, attributes, key, at, "attempts", error, "orders/mail", attempt, died_at)
    got = open_letter(seal_letter(letter), ID, 0, "127.0.0.1:4150")
    assert got.payload in (payload, payload.strip())
    assert (got.id, got.reason, got.error, got.source) == (identity, "attempts", error[:MOST_ERROR], "orders/mail")
    assert (got.attempt, got.died_at, got.published_at, got.position) == (
        attempt,
        died_at,
        at,
        "127.0.0.1:4150/18a831dbd9269000",
    )


def test_a_payload_that_is_json_stands_in_the_envelope_as_it_is():
    body = seal(Outgoing("7", b'{"a": [1]}', {"kind": "new"}, "k", AT, 0.0, "7"))
    assert body == (
        b'{"fastlane":1,"id":"7","at":"2026-01-02T03:04:05.600000Z","key":"k",'
        b'"attributes":{"kind":"new"},"body":{"a": [1]}}'
    )


def test_any_other_payload_stands_in_it_in_base64():
    assert b'"bytes":"eyJhIjoxfSwiaWQiOiJ4Ig=="' in seal(Outgoing("7", b'{"a":1},"id":"x"', {}, None, AT, 0.0, "7"))


def test_an_object_of_somebody_else_is_a_payload():
    body = b'{"id":"7","at":"2026-01-02T03:04:05Z","body":1}'
    assert open_message(body, ID, 0, 1, None).payload == body


def test_without_an_envelope_the_time_is_the_brokers():
    got = open_raw(b"x", ID, 1_767_323_045_600_000_000, 1, None)
    assert (got.id, got.broker_id, got.attributes, got.published_at) == (ID.decode(), ID.decode(), {}, AT)


def test_a_long_error_is_cut():
    letter = DeadLetter("7", b"1", {}, None, AT, "attempts", "x" * 10_000, "a/b", 1, AT + timedelta(seconds=1))
    got = open_letter(seal_letter(letter), ID, 0, "x:1")
    assert len(got.error) == MOST_ERROR
    assert got.error.endswith("x…")


def test_among_dead_letters_a_message_without_its_story_is_shown():
    got = open_letter(seal(Outgoing("7", b"1", {}, None, AT, 0.0, "7")), ID, 1_767_323_045_600_000_000, "x:1")
    assert (got.id, got.payload, got.reason, got.died_at) == ("7", b"1", "unknown", AT)
