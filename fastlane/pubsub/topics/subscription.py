"""A subscription as it was declared: a handler, and how its messages are to be treated."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fastlane.errors import CompileError
from fastlane.pubsub.topics.batch import Batch
from fastlane.pubsub.topics.filters import Filter
from fastlane.pubsub.topics.handlers import Takes, UnresolvedHandler, is_coroutine_handler, takes_of
from fastlane.pubsub.topics.retry import Retry
from fastlane.resources.declaration import Place

if TYPE_CHECKING:
    from fastlane.pubsub.topics.topic import Topic
    from fastlane.sql import Database

__all__ = ["Subscription"]

T = TypeVar("T")


class Subscription(Generic[T]):
    """Made by ``topic.subscribe``.

    Attributes:
        name: unique on its topic.
        topic: that it subscribes to.
        place: of the handler.
        handler: as the user wrote it, called with one argument.
        is_async: it is called on the event loop and awaited; else it runs in a thread. Should it answer an awaitable
            nevertheless, that is awaited, too.
        ack_deadline: seconds of a lease.
        timeout: seconds after which a handler is cancelled, and has failed.
        max_concurrency: handlers (batches) at the same time per instance.
        retry: see `Retry`.
        filter: None: everything is wanted.
        batch: None: one message at a time.
        once: the database that remembers what was handled; None: none does.
    """

    def __init__(
        self,
        name: str,
        topic: Topic[T],
        place: Place,
        handler: Callable[[Any], object],
        *,
        ack_deadline: float,
        timeout: float,
        max_concurrency: int,
        retry: Retry,
        filter: Filter | None = None,  # noqa: A002 - what users call it
        batch: Batch | None = None,
        once: Database | None = None,
        frame: FrameType | None = None,
    ) -> None:
        self.name = name
        self.topic = topic
        self.place = place
        self.handler = handler
        self.is_async = is_coroutine_handler(handler)
        self.ack_deadline = ack_deadline
        self.timeout = timeout
        self.max_concurrency = max_concurrency
        self.retry = retry
        self.filter = filter
        self.batch = batch
        self.once = once
        self._takes: Takes | None = None
        # Kept only until the annotation of the handler has been understood: with it the whole stack is kept.
        self._frame = frame
        try:
            self.complete()
        except UnresolvedHandler:
            pass  # a class may be defined below the handler that names it; the boot asks again

    def __repr__(self) -> str:
        return f"<subscription {self.source!r} from {self.place}>"

    @property
    def source(self) -> str:
        """``topic/subscription``, for people."""
        return f"{self.topic.name}/{self.name}"

    @property
    def ordered(self) -> bool:
        """The topic keeps the order of a key."""
        return self.topic.ordered

    @property
    def decode(self) -> Callable[[bytes], T]:
        """The value in a payload. Raises ``msgspec.DecodeError`` (a ``ValidationError`` is one) for a poisonous one."""
        return self.topic.decode

    @property
    def takes(self) -> Takes:
        """What the handler is called with: the value, its `Message`, or a list of either.

        Raises:
            CompileError: its annotation names something that does not exist.
        """
        if self._takes is None:
            self.complete()
            assert self._takes is not None
        return self._takes

    def complete(self) -> None:
        """Understand the handler's annotation, where that was not possible when it was declared.

        Raises:
            CompileError: it can't be, or does not fit the topic.
        """
        if self._takes is None:
            try:
                self._takes = takes_of(self.handler, self.topic.type, batch=self.batch is not None, frame=self._frame)
            except UnresolvedHandler:
                raise
            except CompileError:
                self._frame = None
                raise
            self._frame = None
