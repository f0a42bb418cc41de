from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlane.pubsub.providers.local import source as source_module
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, letter, outgoing, payloads, rigged


def test_of_a_key_only_the_first_is_handed_out(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source, publisher = await rig.source(), await rig.publisher()
            await publisher.publish(
                TOPIC, [outgoing(b"a0", key="a"), outgoing(b"a1", key="a"), outgoing(b"b0", key="b")]
            )
            await publisher.publish(TOPIC, [outgoing(b"a2", key="a"), outgoing(b"free")])
            got = await gathered(source, 3)
            assert payloads(got) == [b"a0", b"b0", b"free"]
            await source.ack(got[:1])
            (next_,) = await gathered(source, 1)
            assert next_.payload == b"a1"
            await source.retry(next_, 0.2)
            (again,) = await gathered(source, 1)
            assert (again.payload, again.attempt) == (b"a1", 2)
            await source.release([again])
            (again,) = await gathered(source, 1)
            assert (again.payload, again.attempt) == (b"a1", 2)
            await source.dead_letter(again, letter(again))
            assert payloads(await gathered(source, 1)) == [b"a2"]

    asyncio.run(main())


def test_a_delayed_message_keeps_its_key_waiting(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            source = await rig.source()
            messages = [
                outgoing(b"0", key="k", delay=0.3),
                outgoing(b"1", key="k"),
                outgoing(b"2", key="k", delay=0.01),
            ]
            await (await rig.publisher()).publish(TOPIC, messages)
            seen = []
            for _ in range(3):
                got = await gathered(source, 1)
                seen += payloads(got)
                await source.ack(got)
            assert seen == [b"0", b"1", b"2"]

    asyncio.run(main())


def test_the_next_of_a_key_wakes_a_source_that_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "POLL", 60.0)

    async def main():
        async with rigged(tmp_path) as rig:
            one, two = await rig.source(), await rig.source()
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"0", key="k"), outgoing(b"1", key="k")])
            got = await gathered(one, 1)
            waiting = asyncio.ensure_future(two.receive(1))
            await asyncio.sleep(0.02)
            await one.ack(got)
            async with asyncio.timeout(20):
                assert payloads(await waiting) == [b"1"]

    asyncio.run(main())


def test_subscriptions_have_their_order_each(tmp_path):
    async def main():
        async with rigged(tmp_path) as rig:
            one, two = await rig.source(bound("one")), await rig.source(bound("two"))
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"0", key="k"), outgoing(b"1", key="k")])
            await one.ack(await gathered(one, 1))
            assert payloads(await gathered(one, 1)) == [b"1"]
            assert payloads(await gathered(two, 1)) == [b"0"]

    asyncio.run(main())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(keys=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40), seed=st.integers(0, 1000))
def test_no_key_is_out_of_order_whatever_happens_to_its_messages(keys, seed):
    chance = random.Random(seed)

    async def main(path):
        async with rigged(path, durability="normal") as rig:
            sources = [await rig.source(), await rig.source()]
            publisher = await rig.publisher()
            messages = [outgoing(b"%d" % n, key=key) for n, key in enumerate(keys)]
            cuts = sorted({0, len(keys), *(chance.randrange(len(keys)) for _ in range(4))})
            for begin, end in itertools.pairwise(cuts):
                await publisher.publish(TOPIC, messages[begin:end])
            done: dict[str | None, list[int]] = {}
            left = len(keys)
            while left:
                source = chance.choice(sources)
                for delivery in await source.receive(chance.randint(1, 5)):
                    fate = chance.random()
                    if fate < 0.2:
                        await source.retry(delivery, 0.001)
                    elif fate < 0.3:
                        await source.release([delivery])
                    else:
                        done.setdefault(delivery.ordering_key, []).append(int(delivery.payload))
                        left -= 1
                        if fate < 0.4:
                            await source.dead_letter(delivery, letter(delivery))
                        else:
                            assert await source.ack([delivery]) == ()
            assert sum(map(len, done.values())) == len(keys)
            assert all(numbers == sorted(numbers) for key, numbers in done.items() if key is not None)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory)))
