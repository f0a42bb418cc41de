from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastlane.errors import ConfigurationError
from fastlane.pubsub.providers.nsq.names import check, dead_name, replay_name

names = st.text("abc.-_09", min_size=1, max_size=64)


@given(names)
@example("a" * 64)
def test_derived_names_are_names(name):
    assert check(name, "a topic") == name
    assert len({name, check(dead_name(name), "x"), check(replay_name(name), "x")}) == 3


@given(names, names)
@example("a" * 64, "a" * 63 + "b")
def test_two_subscriptions_never_share_their_dead_letters(one, other):
    assert (dead_name(one) == dead_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "ä", "a\n", "a#ephemeral"])
def test_what_nsq_does_not_take_is_refused_by_name(name):
    with pytest.raises(ConfigurationError, match=r"the topic 'orders' .*\n    mend: "):
        check(name, "the topic 'orders'")
