"""Full names of topics and subscriptions: ``projects/P/topics/T``, ``projects/P/subscriptions/S``."""

from __future__ import annotations

__all__ = ["dead_topic", "short", "subscription_path", "topic_path"]


def topic_path(project: str, physical: str) -> str:
    """``physical`` is a topic's id in the provider's project, or already its full name."""
    return physical if physical.startswith("projects/") else f"projects/{project}/topics/{physical}"


def subscription_path(project: str, physical: str) -> str:
    """``physical`` is a subscription's id in the provider's project, or already its full name."""
    return physical if physical.startswith("projects/") else f"projects/{project}/subscriptions/{physical}"


def dead_topic(project: str, dead: str) -> str:
    """The topic of dead letters, beside the subscription that is called ``dead``."""
    return subscription_path(project, dead).replace("/subscriptions/", "/topics/")


def short(path: str) -> str:
    """The id at the end of a full name."""
    return path.rpartition("/")[2]
