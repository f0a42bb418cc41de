"""One per event loop, from the first who enters to the last who leaves."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fastlane.pubsub.providers.per_loop import PerLoop


class Kept:
    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


def test_it_is_made_by_the_first_and_closed_by_the_last_whatever_is_left_twice():
    async def main() -> None:
        kept = PerLoop(Kept, Kept.close)
        one, leave = kept.enter()
        same, leave_too = kept.enter()
        assert one is same is kept.here()
        await leave()
        await leave()
        assert (len(kept), one.closed) == (1, 0)
        await leave_too()
        assert (len(kept), one.closed) == (0, 1)
        with pytest.raises(KeyError):
            kept.here()
        other, leave = kept.enter()
        assert other is not one
        await leave()

    asyncio.run(main())


def test_each_event_loop_has_its_own_whichever_threads_they_run_in():
    found: list[Kept] = []
    together = threading.Barrier(4, timeout=30)

    async def visit() -> None:
        for _ in range(200):
            here, leave = kept.enter()
            assert kept.here() is here
            await leave()
        here, leave = kept.enter()
        together.wait()
        found.append(here)
        await leave()

    kept = PerLoop(Kept, Kept.close)
    threads = [threading.Thread(target=lambda: asyncio.run(visit())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(map(id, found))) == 4
    assert [one.closed for one in found] == [1, 1, 1, 1]
    assert len(kept) == 0
