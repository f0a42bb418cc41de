"""Whatever encoder a secret goes through, its form is known."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.redaction.forms import forms_of

TEXTS = st.text(st.characters(codec="utf-8"), min_size=6, max_size=80)


def gives_away(text: str, value: str) -> bool:
    return any(form in text for form in forms_of(value))


@given(TEXTS)
def test_each_usual_encoding_of_a_value_is_one_of_its_forms(value: str) -> None:
    for text in (
        value,
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        urlencode({"key": value}),
        json.dumps({"key": value}),
        json.dumps({"key": value}, ensure_ascii=False),
        json.dumps({"body": json.dumps({"key": value})}),
        json.dumps({"body": msgspec.json.encode({"key": value}).decode()}, ensure_ascii=False),
        msgspec.json.encode({"key": value}).decode(),
        repr(value),
        repr(value.encode()),
        html.escape(value),
        base64.b64encode(value.encode()).decode(),
        base64.urlsafe_b64encode(value.encode()).decode(),
    ):
        assert gives_away(text, value), text


@given(st.binary(max_size=8), st.text(st.characters(codec="utf-8"), min_size=9, max_size=40), st.binary(max_size=8))
def test_base64_is_known_wherever_the_value_stands_among_other_bytes(before: bytes, value: str, after: bytes) -> None:
    assert gives_away(base64.b64encode(before + value.encode() + after).decode(), value)
    assert gives_away(base64.urlsafe_b64encode(before + value.encode() + after).decode(), value)


def test_the_credentials_of_basic_authentication_are_known() -> None:
    header = "Basic " + base64.b64encode(b"user:correct horse").decode()
    assert gives_away(header, "correct horse")


def test_the_longest_form_comes_first() -> None:
    lengths = [len(form) for form in forms_of("päss/wörd+1")]
    assert lengths == sorted(lengths, reverse=True)


def test_a_line_of_a_private_key_gives_it_away_but_not_its_frame() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END PRIVATE KEY-----\n"
    assert gives_away("a MIIEvQIBADANBgkqhkiG9w0B b", key)
    assert not gives_away("-----BEGIN PRIVATE KEY-----", key)
    assert not gives_away("short", key)


@pytest.mark.parametrize("innocent", ["", "correct", "horse correct", "Y29ycmVj"])
def test_what_is_another_text_is_no_form(innocent: str) -> None:
    assert not gives_away(innocent, "correct horse")
