"""Which provider carries a topic, what it is called there, and what is refused: by the configuration."""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from fastlane.pubsub import Retry, Topic
from fastlane.pubsub.placement.placements import Placements, place_topics
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings

NSQ = {"kind": "nsq", "nsqd": ["127.0.0.1:4150"]}
AWS = {"kind": "aws", "region": "eu-north-1"}
GCP = {"kind": "gcp", "project": "shop"}


class Event(Struct):
    id: int


def place(*topics: Topic[Any], mode: Any = "serve", embedded: bool = False, **tables: Any) -> Placements:
    configuration = msgspec.convert(tables, ResourceConfiguration)
    return place_topics(
        {topic.name: topic for topic in topics}, configuration, Surroundings(mode=mode, embedded=embedded)
    )


def mistakes(*topics: Topic[Any], **tables: Any) -> list[str]:
    return place(*topics, **tables).mistakes


def subscribed(topic: Topic[Event], name: str, **options: Any) -> Topic[Event]:
    @topic.subscribe(name, **options)
    async def handler(event: Event) -> None: ...

    return topic


def test_serve_refuses_topics_without_a_provider_all_in_one() -> None:
    one, two = Topic("one", Event), Topic("two", Event)
    (mistake,) = mistakes(one, two)
    assert mistake.startswith(f"no provider is configured for topics 'one' ({one.place}), 'two' ({two.place})\n")
    assert 'mend: set [pubsub] provider = "NAME"' in mistake


@pytest.mark.parametrize(("mode", "embedded"), [("dev", False), ("serve", True), ("script", True)])
def test_what_is_embedded_goes_to_the_local_broker(mode: str, embedded: bool) -> None:
    placements = place(Topic("one", Event), mode=mode, embedded=embedded)
    assert placements.mistakes == []
    assert [provider.name for provider in placements.providers] == ["local"]


def test_tests_use_memory_whatever_is_configured() -> None:
    placements = place(
        Topic("one", Event), mode="test", providers={"events": AWS}, pubsub={"provider": "events", "topics": {"x": {}}}
    )
    assert placements.mistakes == []
    (provider,) = placements.providers
    assert provider.in_process


def test_each_topic_goes_where_its_table_says_under_the_name_that_it_gives() -> None:
    one = subscribed(Topic("one", Event), "mail")
    two = subscribed(Topic("two", Event), "mail")
    placements = place(
        one,
        two,
        providers={"events": AWS, "fast": NSQ},
        pubsub={
            "provider": "events",
            "topics": {"two": {"provider": "fast", "name": "prod-two", "subscriptions": {"mail": {"name": "m"}}}},
        },
    )
    assert placements.mistakes == []
    first, second = placements.topics["one"], placements.topics["two"]
    assert (first.provider.name, first.bound.physical) == ("events", "one")
    assert (second.provider.name, second.bound.physical) == ("fast", "prod-two")
    mail = first.subscriptions["mail"][1]
    assert (mail.physical, mail.dead, mail.source) == ("one-mail", "one-mail-dead", "one/mail")
    assert (mail.ack_deadline, mail.max_attempts, mail.max_backoff, mail.timeout) == (30, 10, 600, 600)
    assert second.subscriptions["mail"][1].physical == "m"
    assert placements.of(first.provider) == ([first.bound], [mail])


def test_subscriptions_follow_the_name_that_their_topic_has_there() -> None:
    topic = subscribed(Topic("one", Event, order_by="id"), "mail")
    placements = place(
        topic, providers={"events": AWS}, pubsub={"provider": "events", "topics": {"one": {"name": "staging-one.fifo"}}}
    )
    assert placements.mistakes == []
    assert placements.topics["one"].bound.ordered
    assert placements.topics["one"].subscriptions["mail"][1].physical == "staging-one-mail.fifo"


@pytest.mark.parametrize(
    ("provider", "named"),
    [
        (AWS, {"arn": "arn:aws:sns:eu-north-1:000000000000:staging-one"}),
        (GCP, {"name": "projects/other/topics/staging-one"}),
    ],
)
def test_subscriptions_follow_the_name_of_a_topic_that_is_told_with_its_place(
    provider: dict[str, Any], named: dict[str, str]
) -> None:
    topic = subscribed(Topic("one", Event), "mail")
    placements = place(topic, providers={"events": provider}, pubsub={"provider": "events", "topics": {"one": named}})
    (mail,) = (bound for _, bound in placements.topics["one"].subscriptions.values())
    assert (mail.physical, mail.dead) == ("staging-one-mail", "staging-one-mail-dead")


def test_arns_and_urls_stand_for_themselves_on_aws_alone() -> None:
    topic = subscribed(Topic("one", Event), "mail")
    arn = f"arn:aws:sns:eu-north-1:000000000000:{'x' * 90}"
    tables = {"one": {"arn": arn, "subscriptions": {"mail": {"url": "https://sqs.example/0/q"}}}}
    placements = place(topic, providers={"events": AWS}, pubsub={"provider": "events", "topics": tables})
    assert placements.mistakes == []
    assert placements.topics["one"].bound.physical == arn
    assert placements.topics["one"].subscriptions["mail"][1].physical == "https://sqs.example/0/q"
    first, second = mistakes(topic, providers={"fast": NSQ}, pubsub={"provider": "fast", "topics": tables})
    assert first.startswith("[pubsub.topics.one] has arn, and provider 'fast' is of kind nsq\n    mend: ")
    assert "[pubsub.topics.one.subscriptions.mail] has url" in second


def test_a_provider_that_is_not_there_is_named_with_the_nearest() -> None:
    first, second = mistakes(
        Topic("one", Event), Topic("two", Event), providers={"events": AWS}, pubsub={"provider": "event"}
    )
    assert first == (
        "[pubsub] provider = 'event': there is no such provider\n"
        "    mend: did you mean 'events'? Else add [providers.event], or use one of: events, local"
    )
    assert second.startswith("[providers.events]: no topic goes there")
    (third,) = mistakes(Topic("one", Event), pubsub={"topics": {"one": {"provider": "zzz"}}})
    assert third.startswith("[pubsub.topics.one] provider = 'zzz': there is no such provider\n    mend: add")


def test_local_needs_no_table() -> None:
    assert mistakes(Topic("one", Event), pubsub={"provider": "local"}) == []


def test_what_is_configured_and_not_declared_is_a_mistake() -> None:
    topic = subscribed(Topic("signups", Event), "mail-users")
    found = mistakes(
        topic,
        pubsub={
            "provider": "local",
            "topics": {"signup": {}, "signups": {"subscriptions": {"mail-user": {}, "mail-users": {}}}},
        },
    )
    first, second = found
    assert first == (
        "[pubsub.topics.signup]: no topic 'signup' is declared\n"
        "    mend: did you mean 'signups'? Else remove the table, or declare the topic"
    )
    assert second == (
        "[pubsub.topics.signups.subscriptions.mail-user]: topic 'signups' has no subscription 'mail-user'\n"
        "    mend: did you mean 'mail-users'? Else remove the table, or declare the subscription"
    )


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("fastlane.pubsub.providers.aws", "aiobotocore")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiobotocore", None)
    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    (mistake,) = mistakes(Topic("one", Event), providers={"events": AWS}, pubsub={"provider": "events"})
    assert mistake.startswith("provider 'events' (kind aws) needs aiobotocore")
    assert mistake.endswith("which is not installed\n    mend: pip install 'fastlane-asgi[aws]'")


def test_options_that_a_provider_refuses_are_mistakes() -> None:
    (mistake,) = mistakes(
        Topic("one", Event),
        providers={"fast": {"kind": "nsq", "nsqd": ["not an address"]}},
        pubsub={"provider": "fast"},
    )
    assert "providers.fast" in mistake


@pytest.mark.parametrize(
    ("order_by", "topic", "subscription", "problem"),
    [
        ("id", "prod-one", "m.fifo", r"topic 'one' .*: it is ordered or exactly-once, and the name does not end with"),
        ("id", "prod-one.fifo", "m", r"subscription 'one/mail' .*, and the name does not end with \.fifo\n    mend: "),
        (None, "prod-one", "m.fifo", r"subscription 'one/mail' .* neither ordered nor .*, and the name ends with"),
    ],
)
def test_on_aws_the_names_of_fifo_topics_and_queues_and_of_no_others_end_with_fifo(
    order_by: str | None, topic: str, subscription: str, problem: str
) -> None:
    declared = subscribed(Topic("one", Event, order_by=order_by), "mail")
    tables = {"one": {"name": topic, "subscriptions": {"mail": {"name": subscription}}}}
    (mistake,) = mistakes(declared, providers={"events": AWS}, pubsub={"provider": "events", "topics": tables})
    assert re.search(problem, mistake)


def test_what_a_broker_can_not_keep_is_refused_by_name() -> None:
    topic = Topic("one", Event, order_by="id", delivery="exactly-once")
    subscribed(topic, "a", ack_deadline=0.5, timeout="20m", retry=Retry(max_backoff="2h"))
    found = mistakes(topic, providers={"fast": NSQ}, pubsub={"provider": "fast"})
    assert [text.partition("\n")[0].partition(": ")[2] for text in found] == [
        "topic 'one' is ordered by 'id', and provider 'fast' keeps no order",
        "topic 'one' has delivery=\"exactly-once\", and provider 'fast' delivers at least once",
        "subscription 'one/a' has ack_deadline=0.5, and provider 'fast' has leases of 1 to 900 s",
        "subscription 'one/a' has Retry(max_backoff=) 7200 s, and provider 'fast' has at most 3600 s",
        "subscription 'one/a' has timeout 1200 s, and provider 'fast' has at most 900 s",
    ]
    assert all(text.startswith(f"{__file__}:") and "\n    mend: " in text for text in found)


def test_a_lease_has_a_least_length_where_it_has_no_longest() -> None:
    topic = subscribed(Topic("one", Event), "a", ack_deadline=0.01)
    (mistake,) = mistakes(topic, pubsub={"provider": "local"})
    assert "has ack_deadline=0.01, and provider 'local' has leases of at least " in mistake


def test_names_that_are_too_long_for_a_broker_are_refused_with_the_key_to_set() -> None:
    topic = subscribed(Topic("a" * 30, Event), "b" * 30)
    tables = {"a" * 30: {"name": "x" * 65}}
    found = mistakes(topic, providers={"fast": NSQ}, pubsub={"provider": "fast", "topics": tables})
    assert found
    assert f"topic '{'a' * 30}' would be called '{'x' * 65}', and names of provider 'fast' have 1 to 64" in found[0]
    assert found[0].endswith(f"mend: set [pubsub.topics.{'a' * 30}] name")


def test_two_that_would_be_one_at_the_broker_are_refused() -> None:
    one, other = subscribed(Topic("a", Event), "b-c"), subscribed(Topic("a-b", Event), "c")
    (mistake,) = mistakes(one, other, pubsub={"provider": "local"})
    assert mistake.startswith(
        "subscription 'a-b/c' and subscription 'a/b-c' are both called 'a-b-c' at provider 'local'"
    )


def test_what_would_be_among_the_dead_letters_of_another_is_refused() -> None:
    one = subscribed(subscribed(Topic("a", Event), "b"), "b-dead")
    (mistake,) = mistakes(one, providers={"cloud": AWS}, pubsub={"provider": "cloud"})
    assert mistake.startswith(
        "subscription 'a/b-dead' and what is dead of 'a/b' are both called 'a-b-dead' at provider 'cloud'"
    )
    two = subscribed(Topic("c", Event), "d"), Topic("c-d-dead", Event)
    (mistake,) = mistakes(*two, providers={"fast": NSQ}, pubsub={"provider": "fast"})
    assert mistake.startswith("topic 'c-d-dead' and what is dead of 'c/d' are both called 'c-d-dead' at")
    assert mistakes(one, *two, pubsub={"provider": "local"}) == []


def test_what_could_not_be_understood_at_import_is_told() -> None:
    topic: Topic[Any] = Topic("one", Event)

    @topic.subscribe("mail")
    async def mail(event: Nowhere) -> None: ...  # noqa: F821

    (mistake,) = mistakes(topic, pubsub={"provider": "local"})
    assert "names something that does not exist" in mistake
