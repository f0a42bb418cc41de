"""Backoff: least, most, doubling, jitter; batches."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import CompileError
from fastlane.pubsub import Batch, Message, Reject, Retry
from fastlane.pubsub.topics.message import RetryLater


def test_the_delay_doubles_up_to_the_most() -> None:
    retry = Retry(min_backoff=1, max_backoff="1m")
    assert [retry.delay(attempt, lambda: 0.0) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert retry.delay(1, lambda: 1.0) == 1.25


@given(st.floats(0, 1000), st.floats(0, 1000), st.integers(-3, 10**9), st.floats(0, 1))
def test_a_delay_is_within_its_bounds(one: float, other: float, attempt: int, jitter: float) -> None:
    least, most = sorted((one, other))
    delay = Retry(min_backoff=least, max_backoff=most).delay(attempt, lambda: jitter)
    assert least <= delay <= most


def test_max_attempts_counts_the_first_and_none_is_for_ever() -> None:
    assert Retry(max_attempts=1).exhausted(1)
    assert not Retry(max_attempts=2).exhausted(1)
    assert not Retry(max_attempts=None).exhausted(10**9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_backoff": "x"}, "Retry(min_backoff=) is 'x', expected a duration"),
        ({"max_backoff": -1}, "Retry(max_backoff=) is -1"),
        ({"min_backoff": 20, "max_backoff": 10}, "has a least backoff above its most"),
        ({"max_attempts": 0}, "Retry(max_attempts=) is 0"),
        ({"max_attempts": True}, "Retry(max_attempts=) is True"),
        ({"max_attempts": "3"}, "Retry(max_attempts=) is '3'"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(options: dict[str, Any], text: str) -> None:
    with pytest.raises(CompileError) as caught:
        Retry(**options)
    assert text in str(caught.value)
    assert caught.value.file == __file__


def test_retries_are_values() -> None:
    one = Retry(min_backoff=timedelta(seconds=2))
    assert one == Retry(min_backoff=2)
    assert hash(one) == hash(Retry(min_backoff="2s"))
    assert one != Retry()
    assert one != 2
    assert repr(one) == "Retry(min_backoff=2, max_backoff=600, max_attempts=10)"


def test_a_batch_has_a_size_and_a_wait() -> None:
    batch = Batch(100, wait="500ms")
    assert (batch.size, batch.wait) == (100, 0.5)
    assert repr(batch) == "Batch(100, wait=0.5)"


@pytest.mark.parametrize("size", [0, 10_001, True, "3"])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(CompileError, match="write a number from 1 to 10000"):
        Batch(size)


def test_a_message_can_be_marked() -> None:
    from datetime import UTC, datetime

    message = Message("1", "b", 5, 1, datetime.now(UTC), {})
    assert message.outcome is None
    message.retry()
    assert message.outcome == RetryLater(None)
    message.retry(delay="1m")
    assert message.outcome == RetryLater(60.0)
    with pytest.raises(ValueError, match=r"^retry\(delay=-1\), expected a duration: seconds, or"):
        message.retry(delay=-1)
    assert message.outcome == RetryLater(60.0)
    message.reject("no such user")
    assert isinstance(message.outcome, Reject)
    assert message.outcome.reason == str(message.outcome) == "no such user"
