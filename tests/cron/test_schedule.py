from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.cron.schedule import CronExpression, Interval, Schedule, time_zone

NEW_YORK = time_zone("America/New_York")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
EXPRESSIONS = st.sampled_from(
    ["* * * * *", "*/30 * * * *", "30 1 * * *", "30 2 * * *", "0 4 * * 1-5", "15 10 1 * *", "0 0 29 2 *", "5 0 L * *"]
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize("every", ["10m", 600, timedelta(minutes=10), 1, "24h", "1d"])
def test_an_interval_divides_the_day(every: object) -> None:
    interval = Interval(every)
    assert (interval.after(utc(2026, 1, 1)) - interval.before(utc(2026, 1, 1))).total_seconds() == interval.seconds


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("7m", "6m or 8m"),
        (0.5, "1s is the nearest"),
        ("25h", "24h is the nearest"),
        (0, "1s is the nearest"),
        ("x", "a duration: seconds"),
        (-1, "a duration: seconds"),
        (True, "a duration: seconds"),
    ],
)
def test_any_other_is_refused_with_the_nearest(every: object, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Interval(every)


def test_ticks_of_an_interval_are_the_same_on_every_machine() -> None:
    interval = Interval("10m")
    assert interval.after(utc(2026, 1, 1, 0, 3)) == utc(2026, 1, 1, 0, 10)
    assert interval.after(utc(2026, 1, 1, 0, 10)) == utc(2026, 1, 1, 0, 20)
    assert interval.before(utc(2026, 1, 1, 0, 10)) == utc(2026, 1, 1, 0, 10)
    assert str(interval) == "every 10m"


def test_five_fields_are_read_in_their_time_zone() -> None:
    schedule = CronExpression("0 4 * * *", time_zone("Europe/Stockholm"))
    assert schedule.after(utc(2026, 1, 1)) == utc(2026, 1, 1, 3)
    assert schedule.after(utc(2026, 7, 1)) == utc(2026, 7, 1, 2)
    assert str(schedule) == "0 4 * * * Europe/Stockholm"


def test_a_job_in_the_hour_that_spring_leaves_out_runs_right_after_it() -> None:
    schedule = CronExpression("30 2 * * *", NEW_YORK)
    assert schedule.after(utc(2026, 3, 8, 5)) == utc(2026, 3, 8, 7)  # 03:00 EDT
    assert schedule.before(utc(2026, 3, 8, 12)) == utc(2026, 3, 8, 7)


def test_a_job_at_a_fixed_time_runs_once_in_the_hour_that_autumn_repeats() -> None:
    schedule = CronExpression("30 1 * * *", NEW_YORK)
    first = schedule.after(utc(2026, 11, 1, 4))
    assert first == utc(2026, 11, 1, 5, 30)
    assert schedule.after(first) == utc(2026, 11, 2, 6, 30)
    assert schedule.before(utc(2026, 11, 1, 7)) == first


@pytest.mark.parametrize(
    ("zone", "begin", "text"),
    [
        ("Europe/Stockholm", utc(2026, 10, 24, 23), "30 2 * * *"),
        ("America/New_York", utc(2026, 11, 1, 4), "15 1,2,3 * * *"),
        ("America/Santiago", utc(2026, 4, 5, 2), "59 23 * * *"),
        ("Antarctica/Troll", utc(2026, 10, 24, 23), "0 2 * * *"),
    ],
)
def test_whoever_starts_within_the_hour_that_autumn_repeats_has_the_same_ticks_ahead(
    zone: str, begin: datetime, text: str
) -> None:
    schedule = CronExpression(text, time_zone(zone))
    for minute in range(5 * 60):
        moment = begin + timedelta(minutes=minute)
        following = schedule.after(moment)
        assert following > moment
        assert schedule.before(following - timedelta(seconds=1)) <= moment


def test_a_job_at_every_half_hour_keeps_its_distance_in_autumn() -> None:
    schedule = CronExpression("*/30 * * * *", NEW_YORK)
    tick = utc(2026, 11, 1, 4, 45)
    for _ in range(6):
        following = schedule.after(tick)
        assert following - tick <= timedelta(minutes=30)
        tick = following


@pytest.mark.parametrize(
    ("alias", "fields"), [("@daily", "0 0 * * *"), ("@Hourly", "0 * * * *"), ("@weekly", "0 0 * * 0")]
)
def test_words_stand_for_fields(alias: str, fields: str) -> None:
    assert CronExpression(alias, UTC).text == fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * *", "got 4"),
        ("0 * * * * *", "got 6"),
        ("61 * * * *", "minute"),
        ("0 0 31 2 *", "day"),
        ("", "got 0"),
        ("@reboot", "got 1"),
        (5, "five fields"),
    ],
)
def test_what_is_no_expression_is_refused(text: object, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        CronExpression(text, UTC)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", 5, None])
def test_what_is_no_time_zone_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match="Europe/Stockholm"):
        time_zone(name)


@given(MOMENTS, EXPRESSIONS, st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]))
def test_no_tick_lies_between_before_and_after(moment: datetime, text: str, zone: str) -> None:
    check(CronExpression(text, time_zone(zone)), moment)


@given(MOMENTS, st.sampled_from([1, 60, 600, 3600, 86400]))
def test_no_tick_lies_between_before_and_after_of_an_interval(moment: datetime, every: int) -> None:
    check(Interval(every), moment)


def check(schedule: Schedule, moment: datetime) -> None:
    before, after = schedule.before(moment), schedule.after(moment)
    assert before <= moment < after
    assert schedule.after(before) == after
    assert schedule.before(before) == before
    assert schedule.interval(moment) == (after - before).total_seconds()
