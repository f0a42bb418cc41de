from __future__ import annotations

import asyncio
import itertools
import struct

import pytest
from ansq.tcp.exceptions import NSQBadTopic
from hypothesis import given
from hypothesis import strategies as st

from fastlane.pubsub.providers.nsq import connection as module
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.connection import Arrival, Connection, Lost, Refused
from fastlane.pubsub.providers.nsq.greeting import connect
from tests.pubsub.providers.nsq.rig import eventually, longest_pause
from tests.servers.relay import Relay

ADDRESS = Address("127.0.0.1", 4150)


def message(number: int, body: bytes) -> bytes:
    return struct.pack(">iiqH16s", 30 + len(body), 2, number, 1, b"%016d" % number) + body


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(0, 5000), max_size=20))
def test_messages_arrive_whole_however_they_are_cut(bodies, places):
    async def main():
        got: list[Arrival] = []
        connection = Connection(ADDRESS, 5.0)
        connection.on_arrival = got.extend
        for chunk in cut(b"".join(message(number, body) for number, body in enumerate(bodies)), places):
            connection.data_received(chunk)
        assert [each[1:] for each in got] == [
            (b"%016d" % number, number, 1, body) for number, body in enumerate(bodies)
        ]
        assert list(connection.in_flight) == [b"%016d" % number for number in range(len(bodies))]

    asyncio.run(main())


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_no_bytes_break_it(chunks):
    async def main():
        connection = Connection(ADDRESS, 5.0)
        for chunk in chunks:
            connection.data_received(chunk)

    asyncio.run(main())


def test_an_error_about_a_lease_answers_no_other_command(nsqd):
    async def main():
        connection = await connect(Address.parse(nsqd.address, ""), security=Security(), heartbeat=5.0)
        await connection.ask(b"SUB orders mail\n")
        waiting = []
        for kind in (b"FIN", b"TOUCH", b"REQ"):
            connection.send(kind + b" 0123456789abcdef" + (b" 0\n" if kind == b"REQ" else b"\n"))
        waiting.append(connection.ask(b"PUB orders\n\x00\x00\x00\x01x"))
        waiting.append(connection.ask(b"MPUB orders\n\x00\x00\x00\x0d\x00\x00\x00\x01\x00\x00\x00\x05hello"))
        assert await asyncio.gather(*waiting) == [b"OK", b"OK"]
        await connection.close()

    asyncio.run(main())


def test_an_error_ends_the_connection_and_what_stood_behind_it_was_not_done(nsqd):
    async def main():
        connection = await connect(Address.parse(nsqd.address, ""), security=Security(), heartbeat=5.0)
        publish = b"PUB orders\n\x00\x00\x00\x01x"
        answers = await asyncio.gather(
            connection.ask(publish),
            connection.ask(b"PUB $\n\x00\x00\x00\x01x"),
            connection.ask(publish),
            return_exceptions=True,
        )
        assert answers[0] == b"OK"
        assert isinstance(answers[1], Refused)
        assert isinstance(answers[1].error, NSQBadTopic)
        assert isinstance(answers[2], Lost)
        assert answers[2].done is False
        with pytest.raises(Lost) as caught:
            await connection.ask(publish)
        assert caught.value.done is False
        await connection.ended.wait()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["silent", "unanswered"])
def test_a_black_hole_is_left(nsqd, how, monkeypatch):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay, longest_pause() as pause:
            heartbeat = 1.0 if how == "silent" else 30.0
            connection = await connect(Address.parse(relay.address, ""), security=Security(), heartbeat=heartbeat)
            relay.mode = "hold"
            if how == "unanswered":
                monkeypatch.setattr(module, "ANSWER", 0.5)
            answer = connection.ask(b"PUB orders\n\x00\x00\x00\x01x") if how == "unanswered" else None
            async with asyncio.timeout(20):
                await connection.ended.wait()
            if answer is not None:
                with pytest.raises(Lost, match=r"no answer within 0\.5 s") as caught:
                    await answer
                assert caught.value.done is True
            assert pause() < 0.05

    asyncio.run(main())


def test_heartbeats_keep_an_idle_connection(nsqd):
    async def main():
        connection = await connect(Address.parse(nsqd.address, ""), security=Security(), heartbeat=1.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.ended.wait(), 3.5)
        assert connection.alive
        await connection.close()
        await connection.close()
        assert not connection.alive

    asyncio.run(main())


def test_a_peer_that_reads_nothing_pushes_back(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            connection = await connect(Address.parse(relay.address, ""), security=Security(), heartbeat=30.0)
            relay.mode = "hold"
            body = b"x" * 500_000
            command = b"PUB orders\n" + len(body).to_bytes(4, "big") + body
            answers = []
            while connection.writable.is_set():
                answers.append(connection.ask(command))
                await asyncio.sleep(0.01)
                assert len(answers) < 100
            relay.mode = "pass"
            await connection.writable.wait()
            assert set(await asyncio.gather(*answers)) == {b"OK"}
            await connection.close()

    asyncio.run(main())


def test_closing_does_not_wait_for_ever_for_a_peer_that_reads_nothing(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            connection = await connect(Address.parse(relay.address, ""), security=Security(), heartbeat=30.0)
            relay.mode = "hold"
            while connection.writable.is_set():
                connection.send(b"NOP\n" * 100_000)
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                await connection.close()
            await connection.ended.wait()

    asyncio.run(main())


def test_a_reset_while_it_greets_is_an_error_at_once(nsqd):
    async def main():
        async with Relay(nsqd.host, nsqd.tcp) as relay:
            relay.mode = "refuse"
            with pytest.raises(module.BrokerUnavailable, match=f"nsqd at {relay.address}"):
                async with asyncio.timeout(20):
                    await connect(Address.parse(relay.address, ""), security=Security(), heartbeat=30.0)

    asyncio.run(main())


def test_a_lease_that_is_too_long_for_nsqd_is_an_error_with_its_words(start_nsqd):
    nsqd = start_nsqd("--max-msg-timeout=1m")

    async def main():
        with pytest.raises(module.BrokerUnavailable, match="msg timeout"):
            await connect(Address.parse(nsqd.address, ""), security=Security(), heartbeat=30.0, lease=120.0)

    asyncio.run(main())


def test_nothing_is_left_of_connections_that_were_opened_and_closed(nsqd):
    async def main():
        before = len(asyncio.all_tasks())
        for _ in range(20):
            connection = await connect(Address.parse(nsqd.address, ""), security=Security(), heartbeat=30.0)
            await connection.close()

        async def tasks():
            return len(asyncio.all_tasks())

        await eventually(tasks, before + 0)

    asyncio.run(main())
