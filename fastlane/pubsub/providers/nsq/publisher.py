"""Publishing: envelopes, in one command where that is possible."""

from __future__ import annotations

from collections.abc import Sequence

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, Publisher, PublishRefused
from fastlane.pubsub.providers.nsq.envelope import seal
from fastlane.pubsub.providers.nsq.http import Http
from fastlane.pubsub.providers.nsq.pool import Pool

__all__ = ["NsqPublisher"]


class NsqPublisher(Publisher):
    """nsqd gives a message its id when it hands it out, so the answer to a publish is our own.

    Args:
        raw: the payload alone: attributes, times and our id don't travel.
        max_delay: seconds.
    """

    def __init__(self, pool: Pool, http: Http, *, raw: bool, max_delay: float) -> None:
        self._pool, self._http = pool, http
        self._raw, self._max_delay = raw, max_delay

    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        if len(messages) == 1 and not messages[0].delay:
            message = messages[0]
            body = message.payload if self._raw else seal(message)
            return [await self._pool.publish_one(topic.physical, body) or message.id]
        answers: list[str | Exception] = [message.id for message in messages]
        delays: dict[float, list[int]] = {}
        for index, message in enumerate(messages):
            if message.delay > self._max_delay:
                answers[index] = PublishRefused(
                    f"a delay of {message.delay:g} s: this broker's most is {self._max_delay:g} s\n"
                    "    mend: delay less, or set nsqd's --max-req-timeout and the provider's `max_delay`"
                )
            else:
                delays.setdefault(message.delay, []).append(index)
        for delay, places in delays.items():
            bodies = [messages[i].payload if self._raw else seal(messages[i]) for i in places]
            outcomes = await self._pool.publish(topic.physical, bodies, delay)
            for index, failure in zip(places, outcomes, strict=True):
                if failure is not None:
                    answers[index] = failure
        return answers

    async def close(self) -> None:
        await self._pool.close()
        await self._http.close()
