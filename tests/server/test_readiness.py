from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from fastlane.server import readiness as module
from fastlane.server.readiness import Readiness


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "fastlane.server")


def ask(readiness: Readiness) -> str:
    return asyncio.run(readiness.reason())


def test_a_worker_without_checks_is_ready():
    assert ask(Readiness()) == ""


def test_a_worker_that_stops_is_not_ready_and_asks_nobody():
    def check():
        raise AssertionError("asked")

    readiness = Readiness([check])
    readiness.is_stopping = True
    assert ask(readiness) == "stopping"


def test_plain_and_async_checks_say_yes_by_what_is_not_false():
    async def cache():
        return None

    def database():
        assert threading.current_thread() is not threading.main_thread()
        return True

    assert ask(Readiness([cache, database])) == ""


def test_false_and_exceptions_are_no_and_the_log_says_why(caplog):
    async def cache():
        return False

    def database():
        raise ConnectionError("refused")

    assert ask(Readiness([cache, database])) == "cache, database"
    assert "not ready: the check cache says no" in caplog.text
    assert "not ready: the check database failed: ConnectionError('refused')" in caplog.text


def test_an_object_that_answers_an_awaitable_is_a_check():
    class Queue:
        async def __call__(self):
            return False

    assert ask(Readiness([Queue()])) == "Queue"


def test_a_check_that_cancels_itself_says_no(caplog):
    async def cache():
        raise asyncio.CancelledError

    assert ask(Readiness([cache])) == "cache"
    assert "was cancelled" in caplog.text


def test_a_check_has_a_bound(caplog, monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)

    async def slow():
        await asyncio.sleep(3600)

    assert ask(Readiness([slow])) == "slow"
    assert "took more than 0.02 s" in caplog.text


def test_a_check_that_hangs_in_a_thread_is_not_started_again(monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)
    begun, let_go = threading.Event(), threading.Event()
    calls = []

    def hangs():
        calls.append(1)
        begun.set()
        let_go.wait(10)

    async def ask_twice(readiness):
        return [await readiness.reason(), await readiness.reason()]

    try:
        assert asyncio.run(ask_twice(Readiness([hangs]))) == ["hangs", "hangs"]
        assert begun.wait(10)
        assert len(calls) == 1
    finally:
        let_go.set()


def test_an_answer_holds_for_a_while(monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECONDS", 60.0)
    calls = []

    async def check():
        calls.append(1)

    async def ask_often(readiness):
        for _ in range(5):
            await readiness.reason()

    asyncio.run(ask_often(Readiness([check])))
    assert len(calls) == 1


def test_those_who_ask_at_once_share_one_run_and_one_that_goes_away_takes_it_from_nobody():
    calls = []

    async def check():
        calls.append(1)
        await asyncio.sleep(0.01)
        return False

    async def ask_at_once(readiness):
        tasks = [asyncio.create_task(readiness.reason()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks[1:])

    assert asyncio.run(ask_at_once(Readiness([check]))) == ["check", "check"]
    assert len(calls) == 1


def test_a_change_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)
    answers = [False, False, True, True]

    async def check():
        return answers.pop(0)

    async def ask_all(readiness):
        return [bool(await readiness.reason()) for _ in range(4)]

    assert asyncio.run(ask_all(Readiness([check]))) == [True, True, False, False]
    assert [record.getMessage() for record in caplog.records] == [
        "not ready: the check check says no",
        "the check check passes again",
    ]


def test_a_watch_tells_what_the_checks_say(monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.0)
    answers = [False, True]

    async def check():
        return answers.pop(0) if answers else True

    async def watch(readiness):
        told = []

        def refuse(value):
            told.append(value)
            if len(told) == 3:
                watching.cancel()

        watching = asyncio.create_task(readiness.watch(refuse))
        with pytest.raises(asyncio.CancelledError):
            await watching
        return told

    assert asyncio.run(watch(Readiness([check]))) == [True, False, False]
