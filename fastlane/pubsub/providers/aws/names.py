"""What topics and queues are called: by name, by ARN, and queues by URL, too."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["FIFO", "Account", "dead_name", "form_problem", "is_fifo", "queue_name"]

FIFO = ".fifo"
"""What the names of FIFO topics and queues end with: SNS and SQS know them by it."""


class Account(Struct, frozen=True):
    """Where names become ARNs.

    Attributes:
        partition: ``aws``, ``aws-cn``, ``aws-us-gov``.
        region: of the provider.
        number: twelve digits.
    """

    partition: str
    region: str
    number: str

    def topic_arn(self, physical: str) -> str:
        """The ARN of a topic that is given by name or ARN."""
        return physical if physical.startswith("arn:") else f"arn:{self.partition}:sns:{self._place}:{physical}"

    def queue_arn(self, physical: str) -> str:
        """The ARN of a queue that is given by name, ARN or URL; the region of a URL is the provider's."""
        if physical.startswith("arn:"):
            return physical
        if "://" in physical:
            *_, number, name = physical.split("/")
            return f"arn:{self.partition}:sqs:{self.region}:{number}:{name}"
        return f"arn:{self.partition}:sqs:{self._place}:{physical}"

    @property
    def _place(self) -> str:
        return f"{self.region}:{self.number}"


def queue_name(physical: str) -> tuple[str, str | None]:
    """The name of a queue or topic, and the account that owns it where ``physical`` is an ARN."""
    if physical.startswith("arn:"):
        *_, owner, name = physical.split(":")
        return name, owner
    return physical.rpartition("/")[2], None


def is_fifo(physical: str) -> bool:
    return physical.endswith(FIFO)


def form_problem(physical: str, fifo: bool) -> str | None:
    """Why a topic or queue that is FIFO, or is not, can't be called so; None: it can."""
    if is_fifo(physical) is fifo:
        return None
    kind = "ordered or exactly-once" if fifo else "neither ordered nor exactly-once"
    return f"it is {kind}, and the name {'does not end' if fifo else 'ends'} with .fifo"


def dead_name(physical: str) -> str:
    """The queue for the dead letters of the queue ``physical``, in the same form: name, ARN or URL."""
    return f"{physical.removesuffix(FIFO)}-dead{FIFO}" if is_fifo(physical) else f"{physical}-dead"
