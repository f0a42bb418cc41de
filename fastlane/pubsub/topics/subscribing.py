"""From ``@topic.subscribe(…)`` to a subscription: the options are checked, the handler is read, and stays as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from fastlane.errors import CompileError
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.filters import Filter, FilterSpecification
from fastlane.pubsub.topics.handlers import handler_mistake, is_coroutine_handler
from fastlane.pubsub.topics.message import Message
from fastlane.pubsub.topics.retry import Retry, duration_of
from fastlane.pubsub.topics.subscription import Subscription
from fastlane.resources.declaration import Place, Resource
from fastlane.resources.quantities import Duration

if TYPE_CHECKING:
    from fastlane.pubsub.topics.topic import Topic
    from fastlane.sql import Database

__all__ = ["BatchSubscribing", "Subscribing", "SubscriptionOptions"]

T = TypeVar("T")
Answer = TypeVar("Answer")


class SubscriptionOptions:
    """What ``subscribe`` was given, as it was written."""

    __slots__ = ("ack_deadline", "batch", "filter", "max_concurrency", "name", "once", "place", "retry", "timeout")

    def __init__(
        self,
        name: str,
        place: Place,
        ack_deadline: Duration,
        timeout: Duration,
        max_concurrency: int,
        retry: Retry | None,
        filter: FilterSpecification | None,  # noqa: A002 - what users call it
        batch: Batch | None,
        once: Database | None,
    ) -> None:
        self.name = name
        self.place = place
        self.ack_deadline = ack_deadline
        self.timeout = timeout
        self.max_concurrency = max_concurrency
        self.retry = retry
        self.filter = filter
        self.batch = batch
        self.once = once


class _Decorator(Generic[T]):
    """Raises CompileError when it is made with options that make no sense, or called with such a handler."""

    def __init__(self, topic: Topic[T], options: SubscriptionOptions) -> None:
        self._topic = topic
        self._options = options
        self._place = options.place
        self._what = f"subscription {topic.name}/{options.name}: "
        self._check_name(options.name)
        self._ack_deadline = duration_of(f"{self._what}ack_deadline", options.ack_deadline, self._place, positive=True)
        self._timeout = duration_of(f"{self._what}timeout", options.timeout, self._place, positive=True)
        most, retry, batch, once = options.max_concurrency, options.retry, options.batch, options.once
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise self._mistake(f"max_concurrency={most!r}", "write a whole number from 1")
        if retry is not None and not isinstance(retry, Retry):
            raise self._mistake(f"retry={retry!r}", "write `retry=Retry(max_attempts=5)`")
        if batch is not None and not isinstance(batch, Batch):
            raise self._mistake(f"batch={batch!r}", "write `batch=Batch(100, wait=1)`")
        if once is not None and getattr(once, "kind", None) != "database":
            raise self._mistake(f"once={once!r}", "write `once=db`, with a declared Database")
        if once is not None and batch is not None:
            raise self._mistake("once= goes with one message at a time", "leave out batch=, or once=")
        self._filter = None if options.filter is None else Filter(options.filter, self._place)

    def _declare(self, handler: Callable[[Any], Any]) -> None:
        options = self._options
        if not callable(handler) or isinstance(handler, type):
            raise self._mistake(f"{handler!r} is no function", "decorate an `async def` or a `def`")
        if options.once is not None and not is_coroutine_handler(handler):
            raise handler_mistake(
                handler, "it is a plain def, and once= opens a transaction on the event loop", "make it an `async def`"
            )
        self._topic.add(
            Subscription(
                options.name,
                self._topic,
                self._place,
                handler,
                ack_deadline=self._ack_deadline,
                timeout=self._timeout,
                max_concurrency=options.max_concurrency,
                retry=options.retry or Retry(),
                filter=self._filter,
                batch=options.batch,
                once=options.once,
                frame=sys._getframe(2),
            )
        )

    def _check_name(self, name: object) -> None:
        # A subscription's name follows the rules of a resource's, and is unique on its topic alone.
        if not isinstance(name, str) or not Resource.pattern.fullmatch(name) or len(name) > Resource.longest:
            raise CompileError(
                f"{name!r} is no name for a subscription",
                mend=f"use {Resource.described}",
                file=self._place.file,
                line=self._place.line,
            )

    def _mistake(self, problem: str, mend: str) -> CompileError:
        return CompileError(f"{self._what}{problem}", mend=mend, file=self._place.file, line=self._place.line)


class Subscribing(_Decorator[T]):
    """The decorator: it takes the handlers that fit the topic."""

    @overload
    def __call__(self, handler: Callable[[T], Answer], /) -> Callable[[T], Answer]: ...

    @overload
    def __call__(self, handler: Callable[[Message[T]], Answer], /) -> Callable[[Message[T]], Answer]: ...

    def __call__(self, handler: Any, /) -> Any:
        self._declare(handler)
        return handler


class BatchSubscribing(_Decorator[T]):
    """The same with ``batch``."""

    @overload
    def __call__(self, handler: Callable[[list[T]], Answer], /) -> Callable[[list[T]], Answer]: ...

    @overload
    def __call__(self, handler: Callable[[list[Message[T]]], Answer], /) -> Callable[[list[Message[T]]], Answer]: ...

    def __call__(self, handler: Any, /) -> Any:
        self._declare(handler)
        return handler
