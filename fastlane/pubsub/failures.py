"""What may go wrong with a publish that is the caller's to mend."""

from __future__ import annotations

from fastlane.errors import FastlaneError

__all__ = ["MessageTooLarge"]


class MessageTooLarge(FastlaneError, ValueError):
    """An event is larger, with its attributes, than messages may be. Nothing was sent.

    Attributes:
        topic: its name.
        size, limit: bytes.
    """

    def __init__(self, topic: str, size: int, limit: int) -> None:
        self.topic = topic
        self.size = size
        self.limit = limit
        super().__init__(
            f"a message for topic {topic!r} has {size} bytes with its attributes, the limit is {limit}\n"
            "    mend: publish a reference to what is large (a row, an object in a store)"
        )
