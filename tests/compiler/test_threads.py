import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from fastlane.compiler.threads import WorkerThreads
from fastlane.errors import Unavailable

variable = contextvars.ContextVar("variable", default=0)


def test_a_call_runs_in_a_daemon_thread_and_answers() -> None:
    async def main() -> tuple[bool, bool]:
        thread = await WorkerThreads().run(threading.current_thread)
        return thread.daemon, thread is threading.current_thread()

    assert asyncio.run(main()) == (True, False)


def test_what_a_call_raises_is_raised() -> None:
    def fail(error: BaseException) -> None:
        raise error

    async def main(error: BaseException) -> None:
        await WorkerThreads().run(lambda: fail(error))

    for error in (KeyError("x"), SystemExit(3)):
        with pytest.raises(type(error)):
            asyncio.run(main(error))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        asyncio.run(main(StopIteration(1)))


def test_a_free_thread_is_used_again() -> None:
    async def main() -> set[int]:
        threads = WorkerThreads(workers=1)
        return {await threads.run(threading.get_ident) for _ in range(5)}

    assert len(asyncio.run(main())) == 1


def test_no_more_threads_than_allowed_and_no_more_waiting_calls() -> None:
    async def main() -> None:
        threads = WorkerThreads(workers=2, backlog=1)
        release = threading.Event()
        started = threading.Semaphore(0)

        def block() -> int:
            started.release()
            release.wait()
            return threading.get_ident()

        calls = [asyncio.ensure_future(threads.run(block)) for _ in range(3)]
        await asyncio.sleep(0)
        started.acquire()
        started.acquire()
        with pytest.raises(Unavailable) as caught:
            await threads.run(block)
        assert caught.value.headers == {"retry-after": "1"}
        release.set()
        assert len(set(await asyncio.gather(*calls))) <= 2
        assert await threads.run(lambda: 1) == 1

    asyncio.run(main())


def test_what_was_begun_is_ended_even_when_all_threads_are_busy() -> None:
    async def main() -> None:
        threads = WorkerThreads(workers=1, backlog=0)
        release = threading.Event()
        call = asyncio.ensure_future(threads.run(release.wait))
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(threads.finish(lambda: "ended"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await threads.run(lambda: None)
        release.set()
        assert await call
        assert await ending == "ended"

    asyncio.run(main())


def test_without_a_backlog_a_busy_pool_refuses_at_once() -> None:
    async def main() -> None:
        threads = WorkerThreads(workers=1, backlog=0)
        release = threading.Event()
        call = asyncio.ensure_future(threads.run(release.wait))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await threads.run(lambda: None)
        release.set()
        assert await call

    asyncio.run(main())


@pytest.mark.parametrize(("workers", "backlog"), [(0, 1), (1, -1)])
def test_bounds_that_make_no_sense_are_refused(workers: int, backlog: int) -> None:
    with pytest.raises(ValueError, match="workers must be ≥ 1"):
        WorkerThreads(workers, backlog)


def test_context_variables_are_seen_in_the_thread_and_its_changes_afterwards() -> None:
    def change() -> int:
        seen = variable.get()
        variable.set(2)
        return seen

    async def main() -> tuple[int, int]:
        variable.set(1)
        return await WorkerThreads().run(change), variable.get()

    assert asyncio.run(main()) == (1, 2)


def test_a_cancelled_caller_does_not_wait_and_the_result_is_dropped() -> None:
    async def main(outcome: Any) -> None:
        threads = WorkerThreads(workers=1)
        release = threading.Event()

        def work() -> None:
            release.wait()
            outcome()

        call = asyncio.ensure_future(threads.run(work))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        release.set()
        assert await threads.run(lambda: "next") == "next"

    def fail() -> None:
        raise KeyError

    asyncio.run(main(lambda: None))
    asyncio.run(main(fail))


def test_a_call_that_outlives_its_loop_is_dropped() -> None:
    release, done = threading.Event(), threading.Event()
    threads = WorkerThreads(workers=1)

    async def main() -> None:
        call = asyncio.ensure_future(threads.run(release.wait))
        await asyncio.sleep(0)
        call.cancel()

    async def then() -> bool:
        return await threads.run(lambda: True)

    asyncio.run(main())
    release.set()
    assert asyncio.run(then())
    assert not done.is_set()


def test_an_open_loop_that_refuses_is_no_closed_one() -> None:
    class Refusing:
        def call_soon_threadsafe(self, *args: Any) -> None:
            raise RuntimeError("no")

        def is_closed(self) -> bool:
            return False

    from fastlane.compiler.threads import _Call

    loop: Any = Refusing()
    outcome: Any = None
    call = _Call(contextvars.copy_context(), int, loop, outcome)
    with pytest.raises(RuntimeError, match="no"):
        call.report(*call.run())


FORKING = """
import asyncio, os
from fastlane.compiler.threads import WorkerThreads

threads = WorkerThreads(workers=1, backlog=0)

def process():
    return asyncio.run(asyncio.wait_for(threads.run(os.getpid), 10))

assert process() == os.getpid()
child = os.fork()
if child == 0:
    os._exit(7 if process() == os.getpid() else 1)
assert process() == os.getpid()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_has_threads_of_its_own():
    # Python warns of a fork beside threads since 3.12: that one is the point.
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING], check=True, timeout=30)
