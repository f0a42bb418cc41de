"""What a test asks of a topic: the binding to look into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastlane.pubsub.publishing.binding import Spy, TopicBinding
from fastlane.resources.declaration import NotBound

if TYPE_CHECKING:
    from fastlane.pubsub.topics.topic import Topic

__all__ = ["inspected"]


def inspected(topic: Topic[Any], bindings: list[TopicBinding]) -> tuple[TopicBinding, Spy]:
    """The binding of the running event loop; asked from outside of any (a test client runs the app in a thread), the
    only one.

    Raises:
        NotBound: there is none, or it is not clear which.
        RuntimeError: its broker can't be looked into.
    """
    try:
        binding = topic.binding
    except NotBound:
        if len(bindings) != 1:
            raise
        binding = bindings[0]
    if binding.spy is None:
        raise RuntimeError(f"topic {topic.name!r} is carried by a broker: what was published is known in tests alone")
    return binding, binding.spy
