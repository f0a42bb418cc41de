from __future__ import annotations

import asyncio
import gc
import random
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from fastlane.errors import ConfigurationError
from fastlane.pubsub.placement.kinds import make_provider
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.postgres import housekeeping
from fastlane.pubsub.providers.postgres import source as source_module
from fastlane.pubsub.providers.postgres.housekeeping import purge_old
from fastlane.pubsub.providers.postgres.links import Links
from fastlane.resources.configuration import PostgresOptions
from fastlane.resources.declaration import NotBound
from fastlane.sql import Database
from tests.pubsub.providers.postgres.opened import ORDERED, PLAIN, Broker, broker, letter, message, subscription
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_database_that_is_not_declared_is_refused_with_the_one_that_was_meant() -> None:
    gc.collect()
    shop = Database("webshop")
    with pytest.raises(ConfigurationError, match=r"(?s)\[providers.queue\].*did you mean 'webshop'"):
        make_provider("queue", PostgresOptions(database="webshpo"))
    with pytest.raises(ConfigurationError, match=r"name a declared Database \(.*webshop"):
        make_provider("queue", PostgresOptions(database="quite-another"))
    assert make_provider("queue", PostgresOptions(database="webshop"))
    del shop


async def test_before_anything_is_known_of_the_database_it_says_so() -> None:
    database = Database("unknown")
    provider = make_provider("queue", PostgresOptions(database=database.name))
    with pytest.raises(NotBound):
        await provider.open_administrator()


async def test_attempts_count_starts_and_a_release_takes_one_back(url: str) -> None:
    async with broker(url) as app:
        source = await app.source(subscription(PLAIN))
        await app.publish(PLAIN, [message()])
        (first,) = await source.receive(10)
        assert (first.attempt, first.receives, first.attributes) == (1, 1, {"a": "b"})
        await source.release([first])
        (second,) = await source.receive(10)
        assert (second.attempt, second.receives) == (1, 2)
        await source.retry(second, 0.0)
        (third,) = await source.receive(10)
        assert (third.attempt, third.receives) == (2, 3)
        # Whoever has lost the lease decides nothing.
        assert await source.ack([first, second]) == [first, second]
        assert await source.extend([second, third], 60) == [second]
        await source.dead_letter(second, letter(second))
        assert await source.ack([third]) == []
        assert await app.provider_backlog() == (0, 0, 0, False)


async def test_a_lease_that_lapses_hands_the_message_to_another(url: str) -> None:
    async with broker(url) as app:
        one = subscription(PLAIN, ack_deadline=0.2)
        first, second = await app.source(one), await app.source(one)
        await app.publish(PLAIN, [message()])
        (delivery,) = await first.receive(1)
        (again,) = await asyncio.wait_for(second.receive(1), 20)
        assert (again.id, again.attempt) == (delivery.id, 2)


async def test_behind_a_head_nothing_of_its_key_is_handed_out(url: str) -> None:
    async with broker(url) as app:
        source = await app.source(subscription(ORDERED))
        await app.publish(ORDERED, [message("a"), message("a"), message("b")])
        await app.publish(ORDERED, [message("a", delay=3e12)])
        heads = await source.receive(10)
        assert [head.ordering_key for head in heads] == ["a", "b"]
        assert (await waiting(source)) == []
        await source.retry(heads[0], 0.05)
        (again,) = await source.receive(10)
        assert again.id == heads[0].id
        assert await source.ack([again, heads[1]]) == []
        (follower,) = await source.receive(10)
        await source.ack([follower])
        assert (await waiting(source)) == [], "the last one is delayed"
        assert await app.provider_backlog(ORDERED) == (1, 0, 0, False)


async def waiting(source: Any) -> list[Any]:
    try:
        return list(await asyncio.wait_for(source.receive(10), 0.3))
    except TimeoutError:
        return []


async def arrived(source: Any) -> list[Any]:
    """The next message, in as many receives as that takes."""
    async with asyncio.timeout(20):
        while not (deliveries := await source.receive(1)):
            pass
        return list(deliveries)


async def test_with_many_workers_every_key_keeps_its_order_and_none_is_forgotten(url: str) -> None:
    """Publishers and consumers of few keys at the same time, each claim, retry, release and lapse at random."""
    random.seed(7)
    count, keys = 600, 6
    seen: dict[str, list[bytes]] = {}
    sent: dict[str, list[bytes]] = {}
    held: set[str] = set()
    done = 0
    async with broker(url) as one, broker(url) as two, broker(url) as three:
        await one.source(subscription(ORDERED))

        async def publish(app: Broker, mine: range) -> None:
            for number in mine:
                key = f"k{number % keys}"
                several = [message(key) for _ in range(random.choice((1, 1, 3)))]
                sent.setdefault(key, []).extend(each.payload for each in several)
                await app.publish(ORDERED, several)

        async def consume(app: Broker) -> None:
            nonlocal done
            source = await app.source(subscription(ORDERED))
            while done < sum(map(len, sent.values())) or not published.done():
                deliveries = await waiting_briefly(source, random.choice((1, 2, 20)))
                for delivery in deliveries:
                    key = delivery.ordering_key or ""
                    assert key not in held
                    held.add(key)
                await asyncio.sleep(random.uniform(0, 0.003))
                for delivery in deliveries:
                    key = delivery.ordering_key or ""
                    held.discard(key)
                    fate = random.random()
                    if fate < 0.1:
                        await source.retry(delivery, random.choice((0.0, 0.01)))
                    elif fate < 0.2:
                        await source.release([delivery])
                    elif fate < 0.25:
                        seen.setdefault(key, []).append(delivery.payload)
                        await source.dead_letter(delivery, letter(delivery))
                        done += 1
                    else:
                        seen.setdefault(key, []).append(delivery.payload)
                        assert await source.ack([delivery]) == []
                        done += 1

        # Of a key one publisher, so that it is known what the order is.
        published = asyncio.gather(*(publish(one, range(share, count, 3 * keys)) for share in range(keys)))
        async with asyncio.timeout(100):
            await asyncio.gather(published, *(consume(app) for app in (one, two, three)))
        links = Links("queue", lambda: one.database.known_settings, 1)
        for table in ("pubsub_message", "pubsub_delivery"):
            assert await links.value(f"SELECT count(*) FROM fastlane.{table}") == 0
        await links.close()
    assert seen == sent


async def waiting_briefly(source: Any, limit: int) -> list[Any]:
    receiving = asyncio.ensure_future(source.receive(limit))
    await asyncio.wait([receiving], timeout=0.5)
    receiving.cancel()
    try:
        return list(await receiving)
    except asyncio.CancelledError:
        return []


async def test_a_message_is_kept_until_the_last_subscription_is_done_with_it(url: str) -> None:
    async with broker(url) as app, broker(url) as other:
        sources = [await app.source(subscription(PLAIN, "one")), await other.source(subscription(PLAIN, "two"))]
        links = Links("queue", lambda: app.database.known_settings, 1)
        for _ in range(20):
            await app.publish(PLAIN, [message() for _ in range(10)])

            async def finish(source: Any) -> None:
                got = 0
                while got < 10:
                    deliveries = await source.receive(10)
                    got += len(deliveries)
                    assert await source.ack(deliveries) == []

            await asyncio.gather(*map(finish, sources))
            assert await links.value("SELECT count(*) FROM fastlane.pubsub_message") == 0
        await links.close()


async def test_nothing_is_kept_where_nobody_subscribes(url: str) -> None:
    async with broker(url) as app:
        sent = message()
        assert await app.publish(PLAIN, [sent]) == [sent.id]
        await app.source(subscription(PLAIN))
        assert await app.provider_backlog() == (0, 0, 0, False)


async def test_a_dedupe_id_is_taken_once_and_answers_the_first_number(url: str) -> None:
    async with broker(url) as app:
        source = await app.source(subscription(PLAIN))
        one, two = await asyncio.gather(
            app.publish(PLAIN, [message(dedupe_id="x"), message(dedupe_id="x"), message()]),
            app.publish(PLAIN, [message(dedupe_id="x")]),
        )
        assert one[0] == one[1] == two[0] != one[2]
        assert len(await source.receive(10)) == 2


async def test_texts_that_postgresql_can_not_keep_are_refused_and_the_rest_of_their_key_with_them(url: str) -> None:
    async with broker(url) as app:
        source = await app.source(subscription(ORDERED))
        answers = await app.publish(
            ORDERED, [message("a"), message("a", dedupe_id="\x00"), message("a"), message("\ud800"), message("b")]
        )
        assert [isinstance(answer, PublishRefused) for answer in answers] == [False, True, True, True, False]
        assert [delivery.ordering_key for delivery in await source.receive(10)] == ["a", "b"]


async def test_a_paused_subscription_hands_out_nothing_and_wakes_when_it_goes_on(url: str) -> None:
    async with broker(url) as app:
        administrator = await app.provider.open_administrator()
        await administrator.pause(subscription(PLAIN), True)
        source = await app.source(subscription(PLAIN))
        await app.publish(PLAIN, [message()])
        assert await waiting(source) == []
        assert await app.provider_backlog() == (1, 0, 0, True)
        receiving = asyncio.ensure_future(arrived(source))
        await administrator.pause(subscription(PLAIN), False)
        assert len(await receiving) == 1
        await administrator.close()


async def test_dead_letters_are_listed_replayed_to_one_subscription_and_purged(url: str) -> None:
    async with broker(url) as app:
        source, other = await app.source(subscription(PLAIN)), await app.source(subscription(PLAIN, "other"))
        administrator = await app.provider.open_administrator()
        await app.publish(PLAIN, [message(), message(), message()])
        for number, delivery in enumerate(await source.receive(10)):
            await source.dead_letter(delivery, letter(delivery, error=f"{number}\x00\ud800"))
        assert await other.ack(await other.receive(10)) == []
        letters = await administrator.dead_letters(subscription(PLAIN), 2)
        assert [one.error[0] for one in letters] == ["0", "1"]
        assert letters[0].attributes == {"a": "b"}
        assert await administrator.replay(subscription(PLAIN), [letters[1].id], 10) == 1
        (again,) = await source.receive(10)
        assert (again.id, again.attempt, again.payload) == (letters[1].id, 1, letters[1].payload)
        await source.ack([again])
        assert await administrator.purge(subscription(PLAIN), None, 1) == 1
        assert await administrator.replay(subscription(PLAIN), None, 10) == 1
        assert await administrator.purge(subscription(PLAIN, "nobody"), None, 1) == 0
        assert await waiting(other) == []
        await administrator.close()


async def test_provisioning_says_what_it_did_and_does_nothing_the_second_time(url: str) -> None:
    async with broker(url) as app:
        administrator = await app.provider.open_administrator()
        declared = [PLAIN], [subscription(PLAIN)]
        steps = await administrator.plan(*declared)
        assert [(step.action, step.what, step.physical) for step in steps] == [
            ("create", "topic", "plain"),
            ("create", "subscription", "plain-all"),
        ]
        assert await administrator.provision(*declared) == steps
        assert await administrator.provision(*declared) == []
        moved = subscription(ORDERED)
        taken = msgspec.structs.replace(moved, physical="plain-all")
        assert [step.action for step in await administrator.provision([PLAIN], [taken])] == ["change"]
        assert (await administrator.backlog(subscription(PLAIN, "nobody"))).waiting == 0
        await administrator.close()


async def test_what_is_older_than_the_retention_is_given_up_unless_it_is_leased_or_delayed(url: str) -> None:
    async with broker(url) as app:
        source = await app.source(subscription(ORDERED))
        await app.publish(ORDERED, [message("a"), message("b"), message("a"), message("c", delay=60)])
        leased = await source.receive(1)
        links = Links("queue", lambda: app.database.known_settings, 1)
        assert await purge_old(links) == 0
        await asyncio.sleep(0.01)
        assert await purge_old(links, timedelta(0)) == 2  # b, and the second of a
        assert await source.ack(leased) == []
        assert await app.provider_backlog(ORDERED) == (1, 0, 0, False)
        await links.rows("UPDATE fastlane.pubsub_seen SET expires_at = now()")
        await links.close()


async def test_without_the_tables_the_boot_says_what_to_do(postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE empty")
    async with broker(postgres.url("empty")) as app:
        administrator = await app.provider.open_administrator()
        with pytest.raises(ConfigurationError, match="fastlane sql migrate"):
            await administrator.plan([], [])
        await administrator.close()


async def test_a_role_that_may_not_is_forbidden(url: str, postgres: Postgres) -> None:
    postgres.sql("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    async with broker(url.replace("postgres@", "stranger@")) as app:
        with pytest.raises(BrokerForbidden, match="permission denied"):
            await app.publish(PLAIN, [message()])


async def test_a_cancelled_receive_gives_back_what_it_was_about_to_bring(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "GIVE_BACK_PATIENCE", 20.0)
    async with broker(url) as app:
        one = subscription(PLAIN)
        source = await app.source(one)
        await app.publish(PLAIN, [message() for _ in range(50)])
        for number in range(20):
            receiving = asyncio.ensure_future(source.receive(50))
            await asyncio.sleep(0.0005 * number)
            if not receiving.done():
                receiving.cancel()
            try:
                await source.release(await receiving)
            except asyncio.CancelledError:
                pass
        deliveries = await source.receive(100)
        assert len(deliveries) == 50
        assert {delivery.attempt for delivery in deliveries} == {1}


async def test_what_a_closed_source_still_had_is_handed_out_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "GIVE_BACK_PATIENCE", 20.0)
    async with broker(url) as app, broker(url) as other:
        source = await app.source(subscription(PLAIN))
        successor = await other.source(subscription(PLAIN))
        await app.publish(PLAIN, [message()])
        assert len(await source.receive(1)) == 1
        await source.close()
        assert len(await asyncio.wait_for(successor.receive(1), 20)) == 1  # not the 30 s of its lease
        assert await source.receive(1) == ()


async def test_a_server_that_is_away_is_unavailable_and_comes_back(tmp_path: Any) -> None:
    with Postgres() as server:
        await migrate(server)
        async with broker(server.url()) as app:
            source = await app.source(subscription(PLAIN))
            await app.publish(PLAIN, [message()])
            server.kill()
            with pytest.raises(BrokerUnavailable):
                await app.publish(PLAIN, [message()])
            with pytest.raises(BrokerUnavailable):
                await source.receive(1)
            server.start()
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert len(await source.receive(1)) == 1
                        break
                    except BrokerUnavailable:
                        await asyncio.sleep(0.05)


async def migrate(server: Postgres) -> None:
    from fastlane.sql.migrations import Migrator

    connection = await asyncpg.connect(server.url())
    await Migrator.of_framework().apply(connection)
    await connection.close()


async def test_behind_a_pooler_in_transaction_mode_it_listens_around_it_or_looks(
    url: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    with PgBouncer(postgres, connections=4) as bouncer:
        for direct in (url, None):
            async with broker(bouncer.url(name), pooler="transaction", direct_url=direct) as app:
                source = await app.source(subscription(PLAIN, f"direct-{direct is not None}"))
                receiving = asyncio.ensure_future(arrived(source))
                await app.publish(PLAIN, [message()])
                (delivery,) = await receiving
                assert await source.ack([delivery]) == []
            assert ("has no direct_url" in caplog.text) is (direct is None)


async def test_every_process_offers_to_keep_house_and_one_of_them_does(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(housekeeping, "EVERY", timedelta(milliseconds=40))
    monkeypatch.setattr(housekeeping, "RETENTION", timedelta(0))
    monkeypatch.setattr(purge_old, "__defaults__", (timedelta(0),))
    async with broker(url) as app, broker(url):
        await app.source(subscription(PLAIN))
        await app.publish(PLAIN, [message()])
        async with asyncio.timeout(60):
            while (await app.provider_backlog())[0]:
                await asyncio.sleep(0.02)
        links = Links("queue", lambda: app.database.known_settings, 1)
        await links.rows("DROP FUNCTION fastlane.take_chore")
        caplog.set_level("DEBUG", "fastlane.pubsub")
        async with asyncio.timeout(60):
            while "was not kept" not in caplog.text:
                await asyncio.sleep(0.02)
        await links.close()
    assert "1 messages given up" in caplog.text


async def test_two_that_run_into_each_other_are_done_again(url: str) -> None:
    async with broker(url) as app:
        links = Links("queue", lambda: app.database.known_settings, 1)
        await links.rows("CREATE TABLE tried (number int)")
        await links.rows("CREATE SEQUENCE tries")
        await links.rows(
            "CREATE FUNCTION collide() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('tries') < 3 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF; RETURN 3; END $$"
        )
        assert await links.value("SELECT collide()") == 3
        await links.rows("ALTER SEQUENCE tries RESTART MINVALUE -100 START -100")
        with pytest.raises(BrokerUnavailable, match="DeadlockDetectedError"):
            await links.value("SELECT collide()")
        await links.close()
        with pytest.raises(BrokerUnavailable, match="closed"):
            await links.value("SELECT 1")


async def test_a_call_that_gets_no_answer_is_given_up_with_its_connection(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broker(url) as app:
        links = Links("queue", lambda: app.database.known_settings, 1)
        first = await links.value("SELECT pg_backend_pid()")
        with monkeypatch.context() as patch:
            patch.setattr("fastlane.pubsub.providers.postgres.links.CALL_SECONDS", 0.3)
            with pytest.raises(BrokerUnavailable, match="TimeoutError"):
                await links.value("SELECT pg_sleep(60)")
        assert await links.value("SELECT pg_backend_pid()") != first
        closing = asyncio.ensure_future(links.value("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        await links.close()
        with pytest.raises(BrokerUnavailable):
            await closing


async def test_a_doorbell_goes_on_ringing_after_the_server_s_absence() -> None:
    with Postgres() as server:
        await migrate(server)
        server.kill()
        async with broker(server.url()) as app:
            source = await app.source(subscription(PLAIN))
            with pytest.raises(BrokerUnavailable):
                await source.receive(1)
            server.start()
            async with asyncio.timeout(60):
                while True:
                    try:
                        await source.receive(1)
                        break
                    except BrokerUnavailable:
                        await asyncio.sleep(0.1)
                while not app.doorbell.listening:
                    await asyncio.sleep(0.02)
            await app.publish(PLAIN, [message()])
            assert len(await arrived(source)) == 1
