"""From the outbox to a broker, as an app that serves does it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from fastlane.pubsub import Topic
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.outbox import relay as relaying_module
from fastlane.pubsub.outbox.relay import Relay
from fastlane.pubsub.provider import (
    BoundTopic,
    BrokerForbidden,
    BrokerUnavailable,
    Provider,
    Publisher,
    PublishRefused,
)
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.sql import Database
from tests.pubsub.outbox.posted import bound, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Step(Struct):
    key: str
    number: int


def local(path: Path) -> dict[str, Any]:
    return {
        "providers": {"here": {"kind": "local", "path": str(path / "pubsub.db"), "durability": "normal"}},
        "pubsub": {"provider": "here"},
    }


async def test_commits_arrive_in_the_order_of_each_key(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    db = Database("shop")
    steps = Topic("steps", Step, order_by="key")
    got: dict[str, list[int]] = {}
    sent: dict[str, list[int]] = {}

    @steps.subscribe("all")
    async def handle(step: Step) -> None:
        got.setdefault(step.key, []).append(step.number)

    async def write(number: int) -> None:
        key = f"k{number % 5}"
        try:
            async with db.transaction() as tx:
                await tx.execute("SELECT pg_sleep($1)", random.uniform(0, 0.003))
                await steps.publish(Step(key, number), tx=tx)
                # From here to the commit nobody else publishes to the key.
                sent.setdefault(key, []).append(number)
                if number % 7 == 3:
                    sent[key].pop()
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    async with bound(db, url), serving("serve", **local(tmp_path)):
        await asyncio.gather(*(write(number) for number in range(100)))
        await until(lambda: sum(map(len, got.values())) >= sum(map(len, sent.values())))
        assert got == sent
        await until(lambda: empty(db))


async def empty(db: Database) -> bool:
    return await db.fetch_value(int, "SELECT count(*) FROM fastlane.outbox") == 0


async def test_a_commit_wakes_the_relay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    monkeypatch.setattr(relaying_module, "POLL_SECONDS", 5.0)
    db = Database("shop")
    steps = Topic("steps", Step)
    times: list[float] = []
    loop = asyncio.get_running_loop()

    @steps.subscribe("all")
    async def handle(step: Step) -> None:
        times.append(loop.time())

    async with bound(db, url), serving("serve", **local(tmp_path)):
        took = []
        for number in range(8):
            async with db.transaction() as tx:
                await steps.publish(Step("k", number), tx=tx)
            began = loop.time()
            await until(lambda number=number: len(times) == number + 1)
            took.append(times[-1] - began)
    assert sorted(took)[2] < 1.0, "some wait for the poll, all would without NOTIFY"


async def test_another_process_takes_over_where_one_has_died(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    db = Database("shop")
    steps = Topic("steps", Step)
    async with bound(db, url):
        async with serving("script", start=False, **local(tmp_path)):
            async with db.transaction() as tx:
                await steps.publish(Step("k", 1), tx=tx)
            # It was busy with it when it was killed.
            await db.execute("INSERT INTO fastlane.outbox_lease VALUES ('steps', 'dead', now() + interval '1 second')")
        assert not await empty(db)
        async with serving("serve", start=False, **local(tmp_path)):
            await until(lambda: empty(db))
        owner = await db.fetch_value(str, "SELECT owner FROM fastlane.outbox_lease")
        assert owner != "dead"


class Recorder(Provider):
    """Takes down what is published, and answers as it is told."""

    capabilities = Capabilities(
        ordering=True, blocks_key=True, exactly_once=True, exact_attempts=True, ordered_delay=True, batch_size=3
    )

    def __init__(self) -> None:
        super().__init__("recorder", None)
        self.requests: list[list[str]] = []
        self.refused: set[str] = set()
        self.trouble: Exception | None = None
        self.silent = False
        self.answered = asyncio.Event()

    async def open_publisher(self) -> Publisher:
        return _Recording(self)

    async def open_source(self, subscription: Any) -> Any:
        raise NotImplementedError

    async def open_administrator(self) -> Any:
        raise NotImplementedError


class _Recording(Publisher):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        recorder = self._recorder
        recorder.requests.append([message.id for message in messages])
        if recorder.trouble is not None:
            raise recorder.trouble
        if recorder.silent:
            await recorder.answered.wait()
        answers: list[str | Exception] = []
        stopped: set[str | None] = set()
        for message in messages:
            if message.id in recorder.refused or (message.ordering_key is not None and message.ordering_key in stopped):
                answers.append(PublishRefused("no"))
                stopped.add(message.ordering_key)
            else:
                answers.append(f"broker's {message.id}")
        return answers


TOPICS = {name: BoundTopic(name=name, physical=name, ordered=name == "ordered") for name in ("ordered", "plain")}


@asynccontextmanager
async def relaying(
    url: str, recorder: Recorder, topics: Mapping[str, BoundTopic] = TOPICS, owner: str = "me"
) -> AsyncIterator[Relay]:
    db = Database("relayed")
    async with bound(db, url):
        links = Links("relayed", lambda: db.settings, 1)
        relay = Relay(links, recorder, topics, owner)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            relay.stop()
            await task
            await links.close()


async def put(db: Database, topic: str, rows: Mapping[str, str | None]) -> None:
    for identifier, key in rows.items():
        await db.execute(
            "SELECT fastlane.outbox_insert($1, ARRAY[$2], ARRAY[$3], ARRAY[now()], ARRAY[0.0], ARRAY[$2], ARRAY['{}'], "
            "ARRAY['\\x31'::bytea])",
            topic,
            identifier,
            key,
        )


async def test_what_the_broker_refuses_for_good_is_set_aside_and_blocks_nobody(url: str) -> None:
    db, recorder = Database("shop"), Recorder()
    recorder.refused = {"a", "y"}
    async with bound(db, url):
        await put(db, "ordered", {"a": "k", "b": "k", "c": "k", "d": "l"})
        await put(db, "plain", {"x": None, "y": None, "z": None})
        async with relaying(url, recorder):
            await until(lambda: empty(db))
        dead = "SELECT id, error FROM fastlane.outbox_dead ORDER BY seq"
        assert await db.fetch_all(tuple[str, str], dead) == [("a", "no"), ("y", "no")]
    ordered = [request for request in recorder.requests if "x" not in request]
    assert ordered == [["a", "b", "c"], ["d"], ["b", "c"]]


@pytest.mark.parametrize("trouble", [BrokerUnavailable("away"), BrokerForbidden("not you"), KeyError("a bug")])
async def test_in_trouble_everything_waits_and_is_sent_in_order_when_it_is_over(url: str, trouble: Exception) -> None:
    db, recorder = Database("shop"), Recorder()
    recorder.trouble = trouble
    async with bound(db, url):
        await put(db, "ordered", dict.fromkeys("abcdefg", "k"))
        async with relaying(url, recorder):
            await until(lambda: len(recorder.requests) >= 2)
            assert not await empty(db)
            assert all(request == ["a", "b", "c"] for request in recorder.requests)
            recorder.trouble = None
            recorder.requests.clear()
            await until(lambda: empty(db))
    assert [letter for request in recorder.requests for letter in dict.fromkeys(request)][-7:] == list("abcdefg")


async def test_who_has_no_lease_sends_nothing_and_topics_of_other_apps_are_left_alone(url: str) -> None:
    db, mine, theirs = Database("shop"), Recorder(), Recorder()
    async with bound(db, url):
        await db.execute("INSERT INTO fastlane.outbox_lease VALUES ('plain', 'theirs', now() + interval '1 hour')")
        await put(db, "plain", {"a": None})
        await put(db, "unknown", {"b": None})
        async with relaying(url, mine, owner="mine"):
            await put(db, "ordered", {"c": "k"})
            await until(lambda: mine.requests)
            async with relaying(url, theirs, {"plain": TOPICS["plain"]}, owner="theirs"):
                await until(lambda: theirs.requests)
        assert mine.requests == [["c"]]
        assert theirs.requests == [["a"]]
        await until(lambda: left(db, ["b"]))


async def left(db: Database, expected: list[str]) -> bool:
    return await db.fetch_all(str, "SELECT id FROM fastlane.outbox") == expected


async def test_a_broker_that_does_not_answer_is_asked_again_and_the_lease_is_kept_meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying_module, "PUBLISH_SECONDS", 0.5)
    monkeypatch.setattr(relaying_module, "RENEW_SECONDS", 0.05)
    db, recorder = Database("shop"), Recorder()
    recorder.silent = True
    async with bound(db, url):
        await put(db, "plain", {"a": None})
        async with relaying(url, recorder):
            await until(lambda: recorder.requests)
            until_when = "SELECT lease_until::text FROM fastlane.outbox_lease"
            first = await db.fetch_value(str, until_when)
            await until(lambda: later(db, until_when, first))
            await until(lambda: len(recorder.requests) >= 2)
            recorder.silent = False
            await until(lambda: empty(db))


async def later(db: Database, query: str, before: str) -> bool:
    return await db.fetch_value(str, query) > before


async def test_whoever_loses_the_lease_stops_between_two_batches(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying_module, "RENEW_SECONDS", 0.01)
    db, recorder = Database("shop"), Recorder()
    recorder.silent = True
    async with bound(db, url):
        await put(db, "ordered", dict.fromkeys("abcdef", "k"))
        async with relaying(url, recorder) as relay:
            await until(lambda: recorder.requests)
            await db.execute("UPDATE fastlane.outbox_lease SET owner = 'another', lease_until = now() + interval '1h'")
            await until(lambda: not relay._held)
            recorder.silent = False
            recorder.answered.set()
            await until(lambda: left(db, ["d", "e", "f"]))
            await asyncio.sleep(0.1)
            assert recorder.requests == [["a", "b", "c"]]


async def test_without_tables_it_says_so_and_goes_on_when_they_are_there(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    db, recorder = Database("shop"), Recorder()
    async with bound(db, url):
        await put(db, "plain", {"a": None})
        await db.execute("ALTER TABLE fastlane.outbox RENAME TO away")
        async with relaying(url, recorder):
            await until(lambda: "mend: run `fastlane sql migrate APP`" in caplog.text)
            await db.execute("ALTER TABLE fastlane.away RENAME TO outbox")
            await until(lambda: empty(db))
    assert "goes on" in caplog.text
