"""Messages that a provider refuses before it sends anything, and the others of the same call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import PublishRefused

__all__ = ["no_text", "publish_others"]


def no_text(message: Outgoing) -> str | None:
    """Why a store of text can't keep the message: it has no UTF-8 (a lone surrogate). None: it can."""
    try:
        for text in (message.ordering_key or "", message.dedupe_id, *message.attributes, *message.attributes.values()):
            text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        return f"message {message.id}: a key, dedupe id or attribute is no text: {error}"
    return None


async def publish_others(
    messages: Sequence[Outgoing],
    refused: Mapping[int, PublishRefused],
    publish: Callable[[Sequence[Outgoing]], Awaitable[Sequence[str | Exception]]],
) -> Sequence[str | Exception]:
    """Publish what is not refused, and answer for each, as `Publisher.publish` has to.

    Args:
        refused: by the position in ``messages``. Behind one of a key, none of that key is taken.
        publish: gets those that are left, in their order; it is not called without any.
    """
    if not refused:
        return await publish(messages)
    keys: set[str | None] = set()
    answers: list[str | Exception | None] = []
    taken: list[Outgoing] = []
    for index, message in enumerate(messages):
        error = refused.get(index)
        if error is None and message.ordering_key is not None and message.ordering_key in keys:
            error = PublishRefused("an earlier message of the same key was refused")
        if error is None:
            taken.append(message)
        else:
            keys.add(message.ordering_key)
        answers.append(error)
    done = iter(await publish(taken) if taken else ())
    return [next(done) if answer is None else answer for answer in answers]
