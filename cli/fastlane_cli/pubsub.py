"""``fastlane pubsub``: topics and subscriptions at their brokers, from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fastlane.errors import ConfigurationError
from fastlane_cli.resources import Target, run, target_options

if TYPE_CHECKING:
    from fastlane.pubsub.envelope import DeadLetter
    from fastlane.pubsub.provider import Administrator, Backlog, BoundSubscription, Provider
    from fastlane.pubsub.service import PubSubService

__all__ = ["command"]

T = TypeVar("T")
LIMIT = 100


@click.group("pubsub")
def command() -> None:
    """Topics and subscriptions at their brokers: what waits, dead letters, provisioning."""


@command.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_topics(as_json: bool, **options: Any) -> None:
    """Show every topic and subscription of TARGET: where it goes, and how much waits where the broker tells."""

    async def work(service: PubSubService) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for topic in service.placements.topics.values():
            row = {"topic": topic.topic.name, "provider": topic.provider.name, "physical": topic.bound.physical}
            rows.append({**row, "subscription": None})
            async with _administrator(topic.provider) as administrator:
                for subscription, bound in topic.subscriptions.values():
                    backlog = await administrator.backlog(bound)
                    described = {"subscription": subscription.name, "physical": bound.physical}
                    rows.append({**row, **described, **_described(backlog)})
        return rows

    rows = _with_service(options, work)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        if row["subscription"] is None:
            click.echo(f"{row['topic']}  ({row['provider']}: {row['physical']})")
            continue
        counts = ", ".join(f"{row[key]} {word}" for key, word in _WORDS.items())
        paused = ", paused" if row["paused"] else ""
        click.echo(f"  {row['subscription']}  ({row['physical']})  {counts}{paused}")


@command.command("provision")
@target_options
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def provision(dry_run: bool, **options: Any) -> None:
    """Make what TARGET's topics and subscriptions need at their brokers. Does nothing the second time."""

    async def work(service: PubSubService) -> int:
        count = 0
        for provider in service.placements.providers:
            topics, subscriptions = service.placements.of(provider)
            async with _administrator(provider) as administrator:
                act = administrator.plan if dry_run else administrator.provision
                for step in await act(topics, subscriptions):
                    count += 1
                    detail = f" ({step.detail})" if step.detail else ""
                    click.echo(f"{provider.name}: {step.action} {step.what} {step.physical}{detail}")
        return count

    if not _with_service(options, work):
        click.echo("everything is there")


@command.command("dead-letters")
@target_options
@click.argument("subscription")
@click.option("--limit", default=LIMIT, show_default=True, help="At most so many, the oldest first.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with the payloads.")
def dead_letters(subscription: str, limit: int, as_json: bool, **options: Any) -> None:
    """List the dead letters of SUBSCRIPTION (topic/subscription, or its name alone). They stay where they are."""

    async def work(service: PubSubService) -> tuple[Provider, list[DeadLetter]]:
        provider, bound = _find(service, subscription)
        async with _administrator(provider) as administrator:
            return provider, list(await administrator.dead_letters(bound, limit))

    provider, letters = _with_service(options, work)
    if as_json:
        click.echo(json.dumps([_letter(letter) for letter in letters], indent=2))
        return
    if provider.capabilities.dead_letters == "received":
        click.echo("listing receives them under a lease: for a while nobody else sees them", err=True)
    for letter in letters:
        click.echo(f"{letter.id}  {letter.died_at:%Y-%m-%d %H:%M:%S}  attempt {letter.attempt}  {letter.reason}")
        click.echo(f"    {letter.error}")
    click.echo(f"{len(letters)} dead letters of {subscription}")


@command.command("replay")
@target_options
@click.argument("subscription")
@click.argument("ids", nargs=-1)
@click.option("--limit", default=LIMIT, show_default=True, help="Without IDS: the oldest so many.")
def replay(subscription: str, ids: tuple[str, ...], limit: int, **options: Any) -> None:
    """Hand dead letters (those with IDS, or the oldest) to SUBSCRIPTION again, and to no other."""
    _on_dead_letters(
        options, subscription, "replayed", lambda desk, bound: desk.replay(bound, list(ids) or None, limit)
    )


@command.command("purge")
@target_options
@click.argument("subscription")
@click.argument("ids", nargs=-1)
@click.option("--limit", default=LIMIT, show_default=True, help="Without IDS: the oldest so many.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def purge(subscription: str, ids: tuple[str, ...], limit: int, yes: bool, **options: Any) -> None:
    """Remove dead letters of SUBSCRIPTION (those with IDS, or the oldest) for good."""
    if not yes:
        click.confirm(f"remove {len(ids) or f'up to {limit}'} dead letters of {subscription} for good?", abort=True)
    chosen = list(ids) or None
    _on_dead_letters(options, subscription, "purged", lambda broker, bound: broker.purge(bound, chosen, limit))


@command.command("publish")
@target_options
@click.argument("topic")
@click.argument("event")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--key", help="The ordering key, instead of the field that the topic is ordered by.")
@click.option("--delay", help="Before anybody gets it, such as 10m.")
def publish(
    topic: str, event: str, attributes: tuple[str, ...], key: str | None, delay: str | None, **options: Any
) -> None:
    """Publish EVENT, as JSON, to TOPIC. It is checked against the topic's type first. Prints the message's id."""

    async def work(service: PubSubService) -> str:
        placement = service.placements.topics.get(topic)
        if placement is None:
            raise ConfigurationError(f"there is no topic {topic!r}: {', '.join(service.placements.topics) or 'none'}")
        try:
            value = placement.topic.decode(event.encode())
            named = dict(_attribute(text) for text in attributes)
        except ValueError as error:
            raise click.UsageError(f"EVENT is none of {topic}: {error}") from None
        await service.open()
        try:
            return await placement.topic.publish(value, attributes=named or None, ordering_key=key, delay=delay)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        finally:
            await service.close()

    click.echo(_with_service(options, work))


@command.command("pause")
@target_options
@click.argument("subscription")
def pause(subscription: str, **options: Any) -> None:
    """Stop handing out SUBSCRIPTION's messages, on all machines, until it is resumed."""
    _set_paused(options, subscription, True)


@command.command("resume")
@target_options
@click.argument("subscription")
def resume(subscription: str, **options: Any) -> None:
    """Hand out SUBSCRIPTION's messages again."""
    _set_paused(options, subscription, False)


_WORDS = {"waiting": "waiting", "in_flight": "in flight", "dead": "dead"}


def _described(backlog: Backlog) -> dict[str, Any]:
    counts = {"waiting": backlog.waiting, "in_flight": backlog.in_flight, "dead": backlog.dead}
    return {**{key: "unknown" if count is None else count for key, count in counts.items()}, "paused": backlog.paused}


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "reason": letter.reason,
        "error": letter.error,
        "attempt": letter.attempt,
        "source": letter.source,
        "published_at": letter.published_at.isoformat(),
        "died_at": letter.died_at.isoformat(),
        "ordering_key": letter.ordering_key,
        "attributes": letter.attributes,
        "payload": letter.payload.decode(errors="replace"),
    }


def _attribute(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"--attribute {text!r}: expected NAME=VALUE")
    return name, value


def _with_service(options: dict[str, Any], work: Callable[[PubSubService], Coroutine[Any, Any, T]]) -> T:
    target = Target(**options)

    async def main() -> T:
        from fastlane.pubsub.service import PubSubService

        return await work(await target.service(PubSubService, "topic"))

    return run(main())


def _on_dead_letters(
    options: dict[str, Any],
    subscription: str,
    done: str,
    act: Callable[[Administrator, BoundSubscription], Coroutine[Any, Any, int]],
) -> None:
    async def work(service: PubSubService) -> int:
        provider, bound = _find(service, subscription)
        async with _administrator(provider) as administrator:
            return await act(administrator, bound)

    click.echo(f"{_with_service(options, work)} dead letters of {subscription} {done}")


def _set_paused(options: dict[str, Any], subscription: str, paused: bool) -> None:
    async def work(service: PubSubService) -> None:
        provider, bound = _find(service, subscription)
        async with _administrator(provider) as administrator:
            await administrator.pause(bound, paused)

    _with_service(options, work)
    click.echo(f"{subscription} {'is paused' if paused else 'goes on'}")


def _find(service: PubSubService, name: str) -> tuple[Provider, BoundSubscription]:
    """The subscription that is called ``topic/name``, or ``name`` where that is enough."""
    found = [
        (placement.provider, bound)
        for placement in service.placements.topics.values()
        for _, bound in placement.subscriptions.values()
        if name in (bound.name, bound.source)
    ]
    if len(found) == 1:
        return found[0]
    known = sorted(
        bound.source
        for placement in service.placements.topics.values()
        for _, bound in placement.subscriptions.values()
    )
    problem = "there is no subscription" if not found else "there are several subscriptions"
    raise ConfigurationError(f"{problem} {name!r}\n    mend: write one of {', '.join(known) or 'none'}")


@asynccontextmanager
async def _administrator(provider: Provider) -> AsyncIterator[Administrator]:
    administrator = await provider.open_administrator()
    try:
        async with asyncio.timeout(120):
            yield administrator
    finally:
        await administrator.close()
