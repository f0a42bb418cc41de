"""What is hidden, how often, and what is written instead."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.redaction import hide, hide_password, is_active, redacted, redacted_octets, unhide
from fastlane.redaction.table import Redactor

VALUE = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"


def test_a_hidden_value_is_replaced_by_its_name() -> None:
    redactor = Redactor()
    assert redactor.hide("MAIL_KEY", "correct horse")
    assert redactor.text("key=correct horse, correct+horse") == "key=***MAIL_KEY***, ***MAIL_KEY***"
    assert redactor.octets(b"key=correct horse") == b"key=***MAIL_KEY***"


@given(
    st.text(max_size=60), st.text(max_size=60), st.sampled_from([VALUE, VALUE[:20], VALUE[:16], VALUE[:9], "123456"])
)
def test_a_value_is_found_wherever_it_stands(before: str, after: str, value: str) -> None:
    redactor = Redactor()
    redactor.hide("KEY", value)
    redactor.hide("OTHER", "a value of another length, longer than the first one")
    assert value not in redactor.text(before + value + after)
    assert "***KEY***" in redactor.text(before + value + after)


@pytest.mark.parametrize("safe", ["!'()*", ";,/?:@&=+$!*'()#", "=&", ""])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("value", ["pa/ss=w*rd+1!", "b'é t,c:d", "long and / winding %41 road! (to nowhere)"])
def test_whatever_an_encoder_of_urls_leaves_as_it_is_the_value_is_found(safe: str, times: int, value: str) -> None:
    redactor = Redactor()
    redactor.hide("KEY", value)
    encoded = value
    for _ in range(times):
        encoded = quote(encoded, safe=safe)
    for spelled in (encoded, encoded.lower(), encoded.replace("%20", "+")):
        text = redactor.text(f'GET "/a%0ab?key={spelled}&c=d%20e" "/innocent%0a" 100%')
        assert "***KEY***" in text
        assert value not in unquote(unquote(unquote(text)))
        assert "\n" not in text
        assert text.endswith('" "/innocent%0a" 100%')


def test_octets_that_are_no_text_are_looked_through_for_encoded_values() -> None:
    redactor = Redactor()
    redactor.hide("KEY", "pa/ss=w*rd+1!")
    assert redactor.octets(b"\xff?pa%2Fss=w*rd+1!") == b"??***KEY***"
    assert redactor.octets(b"\xff?%2Fss=w*rd+1!") == b"\xff?%2Fss=w*rd+1!"


def test_octets_that_are_no_text_stay_what_they_are() -> None:
    redactor = Redactor()
    assert redactor.octets(b"\xff") == b"\xff"
    redactor.hide("KEY", VALUE)
    assert redactor.octets(b"\xff" + VALUE.encode() + b"\xfe") == b"\xff***KEY***\xfe"
    assert redactor.octets(b"\xff") == b"\xff"


def test_a_short_value_is_not_replaced_and_that_is_told() -> None:
    redactor = Redactor()
    assert not redactor.hide("PIN", "12345")
    assert redactor.text("12345") == "12345"
    assert not redactor.is_active


def test_a_value_is_hidden_until_it_was_unhidden_as_often() -> None:
    redactor = Redactor()
    redactor.hide("A", "correct horse")
    redactor.hide("A", "correct horse")
    redactor.unhide("A", "correct horse")
    assert redactor.text("correct horse") == "***A***"
    redactor.unhide("A", "correct horse")
    assert redactor.text("correct horse") == "correct horse"
    redactor.unhide("A", "correct horse")
    redactor.hide("A", "correct horse")
    assert redactor.is_active


def test_of_two_values_the_one_that_contains_the_other_wins() -> None:
    redactor = Redactor()
    redactor.hide("SHORT", "battery")
    redactor.hide("LONG", "battery staple")
    assert redactor.text("battery staple, battery") == "***LONG***, ***SHORT***"


@given(st.text(), st.text())
def test_a_text_without_the_value_stays_as_it_is(before: str, after: str) -> None:
    redactor = Redactor()
    redactor.hide("KEY", "\U0001f600correct horse")
    assert redactor.text(before + after) == before + after


def test_the_processs_own_table_starts_and_ends_empty_of_a_name() -> None:
    before = is_active()
    hide("KEY", "quite a long value")
    assert redacted("quite a long value") == "***KEY***"
    assert redacted_octets(b"quite a long value") == b"***KEY***"
    unhide("KEY", "quite a long value")
    assert redacted("quite a long value") == "quite a long value"
    assert is_active() is before


def hidden_of(url: str, text: str) -> str:
    from fastlane.redaction import table

    kept, table.redactor = table.redactor, Redactor()
    import fastlane.redaction as package

    package.redactor = table.redactor
    try:
        hide_password("url", url)
        return redacted(text)
    finally:
        table.redactor = package.redactor = kept


def test_of_a_url_only_the_password_is_hidden() -> None:
    url = "postgresql://blog:hunter2222@db:5432/blog"
    assert hidden_of(url, f"can't reach {url}: hunter2222") == (
        "can't reach postgresql://blog:***url***@db:5432/blog: ***url***"
    )


def test_a_quoted_password_is_hidden_in_both_spellings() -> None:
    assert hidden_of("postgresql://blog:a%2Fb%40cdef@db/blog", "a/b@cdef a%2Fb%40cdef") == "***url*** ***url***"


def test_a_password_that_is_also_the_users_name_is_hidden_in_its_place_alone() -> None:
    url = "postgresql://postgres:postgres@db/postgres"
    assert hidden_of(url, f"{url} postgres") == "postgresql://postgres***url***db/postgres postgres"


def test_a_password_among_the_parameters_is_hidden() -> None:
    assert hidden_of("postgresql:///blog?host=/run&password=hunter2222", "hunter2222") == "***url***"


def test_a_url_without_a_password_hides_nothing() -> None:
    assert hidden_of("postgresql://blog@db/blog", "postgresql://blog@db/blog") == "postgresql://blog@db/blog"
