"""The handlers of one subscription, on the event loop of the worker: decode, call, and say what became of it."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

from fastlane.pubsub.clock import Clock
from fastlane.pubsub.consumption.health import logger, one_line, one_line_of
from fastlane.pubsub.consumption.held import Held, HeldOutcome, Run, Together
from fastlane.pubsub.consumption.hop import Hop
from fastlane.pubsub.consumption.once import Once
from fastlane.pubsub.consumption.timeouts import Timeouts
from fastlane.pubsub.topics.message import Message, Reject, RetryLater
from fastlane.pubsub.topics.subscription import Subscription

__all__ = ["Handling"]

_GRACE = 5.0
"""Seconds that a cancelled handler has for its ``finally`` before it is given up."""


class Handling:
    """Calls the handler: an ``async def`` in a task, a ``def`` in a thread.

    Each call has a context of its own, a copy of ``context``, and its task the name ``topic/subscription``. Decoding
    happens here, too, because it may run the user's code (``__post_init__``).

    Args:
        clock: that timeouts follow.
        context: what handlers see of context variables.
        permits: how many runs there are at most at the same time, which is how many threads there may be.
        once: remembers what has been handled.
    """

    def __init__(
        self,
        subscription: Subscription[Any],
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        context: Context,
        permits: int,
        once: Once | None = None,
    ) -> None:
        self.timeouts = Timeouts(
            clock, subscription.timeout, _GRACE, expire=self._expire, abandon=self._abandon_expired
        )
        self._subscription = subscription
        self._name = subscription.source
        self._loop = loop
        self._clock = clock
        self._context = context
        self._decode = subscription.decode
        self._handler: Callable[[Any], Any] = subscription.handler
        self._wants_message = subscription.takes in ("message", "messages")
        self._once = once
        self._threads: ThreadPoolExecutor | None = None
        if not subscription.is_async:
            # As many as there are permits, so that what is handed to a thread starts at once; made when needed.
            self._threads = ThreadPoolExecutor(max(1, permits), thread_name_prefix=self._name)
        self._stopped = False
        self._outcomes: Hop[Run]

    def connect(self, outcomes: Hop[Run]) -> None:
        """Where runs go when they have ended. An abandoned one goes there a second time when it ends after all."""
        self._outcomes = outcomes

    # What the consumption asks for

    def begin(self, arrivals: deque[Run]) -> None:
        """Start what has arrived; what can't be started goes back at once."""
        timeouts = self.timeouts
        deadline = self._clock.time() + timeouts.timeout
        while arrivals:
            run = arrivals.popleft()
            run.deadline = deadline
            try:
                if self._stopped:
                    self._refuse(run)
                elif type(run) is Held:
                    self._begin_one(run)
                else:
                    assert isinstance(run, Together)
                    self._begin_together(run)
            except Exception as error:  # no thread could be started, or memory is out: the attempt has failed
                self._fail(run, error)
                self._end(run)
        if timeouts.running:
            timeouts.arm()

    def stop(self) -> None:
        """Start nothing more: what arrives from here on goes back."""
        self._stopped = True

    def cancel(self) -> None:
        """The time of the drain is up: cancel what runs. Its messages are handed back, and have not failed."""
        for run in list(self.timeouts.running):
            if run.task is not None and not run.abandoned:  # a thread is not disturbed, and may still succeed
                run.stopped = True
                self._cancel(run)

    def abandon(self) -> None:
        """Hand back the messages of what has not ended by being cancelled."""
        for run in list(self.timeouts.running):
            if not run.abandoned:
                run.stopped = True
                self._abandon(run)

    def close(self) -> None:
        """Let go of threads and timers; a thread that still runs is left alone."""
        self.timeouts.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # Beginning

    def _begin_one(self, held: Held) -> None:
        if held.lost:
            return self._refuse(held)
        delivery = held.delivery
        try:
            value = self._decode(delivery.payload)
        except Exception as error:
            self._spoil(held, error)
            return self._outcomes.put(held)
        if self._wants_message:
            message = self._message(held, value)
            return self._launch(held, message, (held,), (message,))
        if self._threads is not None or self._once is not None:
            return self._launch(held, value, (held,), ())
        # PERF: the usual case by the shortest way. With 100 in flight a message costs 2.9 µs of CPU from the source to
        # its acknowledgement on one event loop, 3.1 to 4.2 with the thread (uvloop, 3.11); 2.0 on 3.13: eager tasks.
        self.timeouts.running[held] = None
        held.task = self._start(self._call_one(held, value))
        return None

    def _begin_together(self, run: Together) -> None:
        values, sound = [], []
        for held in run.messages:
            held.outcome = "released"
            if held.lost:
                continue
            try:
                value = self._decode(held.delivery.payload)
            except Exception as error:
                self._spoil(held, error)
            else:
                values.append(self._message(held, value) if self._wants_message else value)
                sound.append(held)
        if sound:
            self._launch(run, values, sound, values if self._wants_message else ())
        else:
            self._outcomes.put(run)

    def _launch(self, run: Run, argument: Any, sound: Sequence[Held], messages: Sequence[Message[Any]]) -> None:
        self.timeouts.running[run] = None
        if self._threads is not None:
            context = self._context.copy()
            self._threads.submit(context.run, self._call_in_thread, run, argument, sound, messages)
        else:
            run.task = self._start(self._call(run, argument, sound, messages))

    def _start(self, coroutine: Any) -> asyncio.Task[None]:
        if sys.version_info >= (3, 12):
            return asyncio.Task(
                coroutine, loop=self._loop, name=self._name, context=self._context.copy(), eager_start=True
            )
        return asyncio.Task(coroutine, loop=self._loop, name=self._name, context=self._context.copy())

    def _message(self, held: Held, value: Any) -> Message[Any]:
        delivery = held.delivery
        return Message(
            delivery.id,
            delivery.broker_id,
            value,
            held.attempt,
            delivery.published_at,
            delivery.attributes,
            delivery.ordering_key,
        )

    def _spoil(self, held: Held, error: Exception) -> None:
        held.outcome = "undecodable"
        held.error = one_line(error)
        logger.warning("message %s of %s can't be decoded: %s", held.delivery.id, self._name, held.error)

    # Running

    async def _call_one(self, held: Held, value: Any) -> None:
        try:
            await self._handler(value)
        except BaseException as error:
            self._fail(held, error)
            if self._concerns_all(held, error):
                raise
        else:
            if held.expired or held.stopped:
                self._overrun(held)
            else:
                held.outcome = "done"
        finally:
            self._end(held)

    async def _call(self, run: Run, argument: Any, sound: Sequence[Held], messages: Sequence[Message[Any]]) -> None:
        try:
            if self._once is not None:
                await self._call_once(run, argument)
            else:
                await self._handler(argument)
        except BaseException as error:
            self._fail(run, error, sound)
            if self._concerns_all(run, error):
                raise
        else:
            self._succeed(run, sound, messages)
        finally:
            self._end(run)

    async def _call_once(self, run: Run, argument: Any) -> None:
        assert self._once is not None
        assert isinstance(run, Held)
        async with self._once.claim(self._name, run.delivery.id) as first:
            if first:
                await self._handler(argument)

    def _call_in_thread(self, run: Run, argument: Any, sound: Sequence[Held], messages: Sequence[Message[Any]]) -> None:
        try:
            result = self._handler(argument)
            if result is not None and inspect.isawaitable(result):
                asyncio.run_coroutine_threadsafe(_wait_for(result), self._loop).result()
        except BaseException as error:
            self._fail(run, error, sound)
        else:
            self._succeed(run, sound, messages)
        finally:
            self._end(run)

    # Ending

    def _succeed(self, run: Run, sound: Sequence[Held], messages: Sequence[Message[Any]]) -> None:
        if run.expired or run.stopped:
            return self._overrun(run, sound)
        for held in sound:
            held.outcome = "done"
        for held, message in zip(sound, messages, strict=False):
            mark = message.outcome
            if isinstance(mark, RetryLater):
                held.outcome = "failed"
                held.error = "the handler asked for another attempt"
                held.delay = mark.delay
            elif mark is not None:
                held.outcome = "rejected"
                held.error = one_line_of(mark.reason) or "rejected"
        return None

    def _fail(self, run: Run, error: BaseException, sound: Sequence[Held] | None = None) -> None:
        if sound is None:
            sound = run.messages
        if run.abandoned:  # the outcome stands already
            return None
        run.stopped |= isinstance(error, GeneratorExit) and self._is_closed(run)
        if run.expired or run.stopped:
            return self._overrun(run, sound)
        outcome: HeldOutcome = "failed"
        text = one_line(error)
        if isinstance(error, Reject):
            outcome, text = "rejected", one_line_of(error.reason) or "rejected"
        else:
            first = sound[0]
            logger.error(
                "handler of %s failed on attempt %d: message %s%s",
                self._name,
                first.attempt,
                first.delivery.id,
                f" and {len(sound) - 1} more of its batch" if len(sound) > 1 else "",
                exc_info=error,
            )
        for held in sound:
            held.outcome = outcome
            held.error = text
        return None

    def _concerns_all(self, run: Run, error: BaseException) -> bool:
        """It is not the handler's own: Ctrl-C where nobody else takes it, or the event loop has ended with the task in
        it. What a handler raises must not end its worker: that would cost the next worker its life, too."""
        if isinstance(error, KeyboardInterrupt):
            return signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return isinstance(error, GeneratorExit) and self._is_closed(run)

    def _is_closed(self, run: Run) -> bool:
        """Its coroutine is being closed: whoever does that is not its task. (An eager one is not known yet.)"""
        return run.task is not None and asyncio.current_task(self._loop) is not run.task

    def _overrun(self, run: Run, sound: Sequence[Held] | None = None) -> None:
        """It was cancelled: by the drain, then it has not failed; or because its time was up."""
        if run.abandoned:
            return
        for held in run.messages if sound is None else sound:
            held.outcome = "released" if run.stopped else "failed"
            held.error = f"took more than its timeout of {self.timeouts.timeout:g} s"
        if not run.stopped:
            logger.error(
                "handler of %s was cancelled after its timeout of %g s: message %s",
                self._name,
                self.timeouts.timeout,
                run.messages[0].delivery.id,
            )

    def _end(self, run: Run) -> None:
        self.timeouts.running.pop(run, None)
        self._outcomes.put(run)

    def _refuse(self, run: Run) -> None:
        for held in run.messages:
            held.outcome = "released"
        self._outcomes.put(run)

    # Cancelling

    def _expire(self, run: Run) -> None:
        if run.task is None:
            self._abandon_expired(run)  # nothing ends a thread
        else:
            self._cancel(run)

    def _cancel(self, run: Run) -> None:
        task = run.task
        # A task that is cancelled before its first step never enters its coroutine, and would tell nothing.
        unborn = task.done() or inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED
        task.cancel()
        if unborn and run in self.timeouts.running:
            self.timeouts.running.pop(run)
            self._refuse(run)

    def _abandon_expired(self, run: Run) -> None:
        if run.stopped or run.abandoned or run not in self.timeouts.running:
            return
        logger.error(
            "handler of %s goes on after its timeout of %g s%s: message %s is tried again, "
            "and the handler keeps its place of max_concurrency until it ends",
            self._name,
            self.timeouts.timeout,
            ", and can't be stopped because it is a plain def" if run.task is None else " though it was cancelled",
            run.messages[0].delivery.id,
        )
        self._abandon(run)

    def _abandon(self, run: Run) -> None:
        for held in run.messages:
            if held.outcome != "undecodable":
                held.outcome = "released" if run.stopped else "failed"
                held.error = f"took more than its timeout of {self.timeouts.timeout:g} s"
        run.abandoned = True
        self._outcomes.put(run)


async def _wait_for(awaitable: Awaitable[object]) -> None:
    await awaitable
