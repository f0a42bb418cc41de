"""What an application declares, as the verbs about its configuration see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlane.resources.configuration.example import Declared
from fastlane.resources.declaration import living_resources

if TYPE_CHECKING:
    from fastlane.cron.job import CronJob
    from fastlane.pubsub.topics.topic import Topic

__all__ = ["declared_by_name", "declared_topics", "gather_declared"]


def gather_declared() -> Declared:
    """Of every resource that is alive in this process, after the application was imported."""
    return Declared(
        topics=[(topic.name, sorted(topic.subscriptions)) for topic in declared_topics()],
        databases=declared_by_name("database"),
        secrets=declared_by_name("secret"),
        cron_jobs=[(job.name, str(job.schedule)) for job in _jobs()],
    )


def declared_by_name(kind: str) -> list[str]:
    """The names of all resources of a kind, in order."""
    return sorted({resource.name for resource in living_resources() if resource.kind == kind})


def declared_topics() -> list[Topic[object]]:
    """In the order of names."""
    found = {resource.name: resource for resource in living_resources() if resource.kind == "topic"}
    return [found[name] for name in sorted(found)]  # type: ignore[misc]  # the kind says what it is


def _jobs() -> list[CronJob]:
    found = {resource.name: resource for resource in living_resources() if resource.kind == "cron job"}
    return [found[name] for name in sorted(found)]  # type: ignore[misc]  # the kind says what it is
