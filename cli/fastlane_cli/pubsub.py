"""``fastlane pubsub``: topics and subscriptions at their brokers, from the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.redaction import redacted
from fastlane_cli.brokers import administrator_of, find, with_service
from fastlane_cli.resources import target_options

if TYPE_CHECKING:
    from fastlane.pubsub.envelope import DeadLetter
    from fastlane.pubsub.provider import BoundSubscription, Provider
    from fastlane.pubsub.service import PubSubService

__all__ = ["command"]

LIMIT = 100
LOOK_SECONDS = 5.0
"""For a broker that is only asked what waits."""


_Command = TypeVar("_Command", bound=Callable[..., object])


def _limit_option(text: str) -> Callable[[_Command], _Command]:
    return click.option("--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help=text)


@click.group("pubsub")
def command() -> None:
    """Topics and subscriptions at their brokers: what waits, dead letters, provisioning."""


@command.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_topics(as_json: bool, **options: Any) -> None:
    """Show topics and subscriptions: where each one goes, and how much waits where the broker tells.

    What a broker does not tell is "unknown" (null in JSON). Exit code 1 if one can't be asked; the others are shown.

    Example: fastlane pubsub list app:app
    """

    async def work(service: PubSubService) -> list[dict[str, Any]]:
        placements = service.placements
        looks = [_look(provider, placements.of(provider)[1]) for provider in placements.providers]
        backlogs = {source: found for look in await asyncio.gather(*looks) for source, found in look.items()}
        rows: list[dict[str, Any]] = []
        for topic in placements.topics.values():
            row = {"topic": topic.topic.name, "provider": topic.provider.name, "physical": topic.bound.physical}
            rows.append({**row, "subscription": None})
            for subscription, bound in topic.subscriptions.values():
                described = {"subscription": subscription.name, "physical": bound.physical}
                rows.append({**row, **described, **backlogs[bound.source]})
        return rows

    rows: list[dict[str, Any]] = with_service(options, work, [])
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            click.echo(_line(row))
        if not rows:
            click.echo(f"{options['target']} declares no topic")
    errors = dict.fromkeys(row["error"] for row in rows if row.get("error"))
    for error in errors:
        click.echo(error, err=True)
    if errors:
        sys.exit(1)


@command.command("provision")
@target_options
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def provision(dry_run: bool, **options: Any) -> None:
    """Make what topics and subscriptions need at their brokers.

    To be run before a version that declares new ones is served; it does nothing the second time.

    Example: fastlane pubsub provision app:app --dry-run
    """

    async def work(service: PubSubService) -> int:
        count = 0
        for provider in service.placements.providers:
            topics, subscriptions = service.placements.of(provider)
            async with administrator_of(provider) as administrator:
                act = administrator.plan if dry_run else administrator.provision
                for step in await act(topics, subscriptions):
                    count += 1
                    detail = f" ({step.detail})" if step.detail else ""
                    click.echo(f"{provider.name}: {step.action} {step.what} {step.physical}{detail}")
        return count

    if not with_service(options, work, 0):
        click.echo("everything is there")


@command.command("dead-letters")
@target_options
@click.argument("subscription")
@click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="At most so many, the oldest first."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with the payloads.")
def dead_letters(subscription: str, limit: int, as_json: bool, **options: Any) -> None:
    """List the dead letters of SUBSCRIPTION.

    They stay where they are. SUBSCRIPTION is topic/subscription, or its name alone where there is one of it.

    Example: fastlane pubsub dead-letters app:app user-signups/send-mail
    """

    async def work(service: PubSubService) -> tuple[Provider, list[DeadLetter]]:
        provider, bound = find(service, subscription)
        async with administrator_of(provider) as administrator:
            return provider, list(await administrator.dead_letters(bound, limit))

    provider, letters = with_service(options, work)
    if letters and provider.capabilities.dead_letters == "received":
        click.echo("listing receives them under a lease: for a while nobody else sees them", err=True)
    if as_json:
        click.echo(json.dumps([_letter(letter) for letter in letters], indent=2))
        return
    for letter in letters:
        click.echo(f"{letter.id}  {letter.died_at:%Y-%m-%d %H:%M:%S}  attempt {letter.attempt}  {letter.reason}")
        click.echo(f"    {redacted(letter.error)}")
    click.echo(f"{_count(len(letters))} of {subscription}")


@command.command("replay")
@target_options
@click.argument("subscription")
@click.argument("ids", nargs=-1)
@click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="Without IDS: the oldest so many."
)
def replay(subscription: str, ids: tuple[str, ...], limit: int, **options: Any) -> None:
    """Hand dead letters to SUBSCRIPTION again, and to no other.

    Those with IDS, or the oldest. Exit code 1 if there is none with one of the IDS.

    Example: fastlane pubsub replay app:app user-signups/send-mail
    """

    async def work(service: PubSubService) -> int:
        provider, bound = find(service, subscription)
        async with administrator_of(provider) as administrator:
            return await administrator.replay(bound, list(ids) or None, limit)

    _tell(with_service(options, work), subscription, "replayed", ids)


@command.command("purge")
@target_options
@click.argument("subscription")
@click.argument("ids", nargs=-1)
@click.option(
    "--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="Without IDS: the oldest so many."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
def purge(subscription: str, ids: tuple[str, ...], limit: int, yes: bool, **options: Any) -> None:
    """Remove dead letters of SUBSCRIPTION for good.

    Those with IDS, or the oldest. Exit code 1 if there is none with one of the IDS.

    Example: fastlane pubsub purge app:app user-signups/send-mail --limit 1000
    """

    async def work(service: PubSubService) -> int:
        provider, bound = find(service, subscription)
        if not yes:
            which = _count(len(set(ids))) if ids else f"up to {_count(limit)}"
            click.confirm(f"remove {which} of {subscription} for good?", abort=True)
        async with administrator_of(provider) as administrator:
            return await administrator.purge(bound, list(ids) or None, limit)

    _tell(with_service(options, work), subscription, "purged", ids)


@command.command("publish")
@target_options
@click.argument("topic")
@click.argument("event")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--key", help="The ordering key, instead of the field that the topic is ordered by.")
@click.option("--delay", metavar="DURATION", help="Nobody gets it before, such as 10m.")
@click.option("--dedupe-id", metavar="TEXT", help="A second one with the same is dropped, where the broker can.")
def publish(
    topic: str,
    event: str,
    attributes: tuple[str, ...],
    key: str | None,
    delay: str | None,
    dedupe_id: str | None,
    **options: Any,
) -> None:
    """Publish EVENT, as JSON, to TOPIC.

    It is checked against the topic's type first; - reads it from standard input. Prints the message's id.

    Example: fastlane pubsub publish app:app user-signups '{"id": 1}'
    """
    text = sys.stdin.read() if event == "-" else event

    async def work(service: PubSubService) -> str:
        placement = service.placements.topics.get(topic)
        if placement is None:
            known = ", ".join(service.placements.topics)
            raise ConfigurationError(f"there is no topic {topic!r}\n    mend: write one of {known}")
        named = dict(_attribute(pair) for pair in attributes)
        try:
            value = placement.topic.decode(text.encode())
        except ValueError as error:
            raise click.UsageError(f"EVENT is none of {topic}: {error}") from None
        await _register(service, placement.provider)
        await service.open()
        try:
            return await placement.topic.publish(
                value, attributes=named or None, ordering_key=key, delay=delay, dedupe_id=dedupe_id
            )
        except ConfigurationError:
            raise
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        finally:
            await service.close()

    click.echo(with_service(options, work))


async def _register(service: PubSubService, provider: Provider) -> None:
    """Where the boot makes what there is, a message that came before the first one would be kept for nobody."""
    from fastlane.pubsub.placement.kinds import PROVISIONED, kind_of

    if kind_of(provider.options) in PROVISIONED:
        async with administrator_of(provider) as administrator:
            await administrator.provision(*service.placements.of(provider))


@command.command("pause")
@target_options
@click.argument("subscription")
def pause(subscription: str, **options: Any) -> None:
    """Stop handing out SUBSCRIPTION's messages, on all machines.

    Until it is resumed; what is published meanwhile waits.

    Example: fastlane pubsub pause app:app user-signups/send-mail
    """
    _set_paused(options, subscription, True)


@command.command("resume")
@target_options
@click.argument("subscription")
def resume(subscription: str, **options: Any) -> None:
    """Hand out SUBSCRIPTION's messages again.

    Example: fastlane pubsub resume app:app user-signups/send-mail
    """
    _set_paused(options, subscription, False)


_WORDS = {"waiting": "waiting", "in_flight": "in flight", "dead": "dead"}


async def _look(provider: Provider, subscriptions: Sequence[BoundSubscription]) -> dict[str, dict[str, Any]]:
    """What waits, by source. A broker that can't be asked leaves an error in its place."""
    unknown: dict[str, Any] = {**dict.fromkeys(_WORDS), "paused": None}
    found: dict[str, dict[str, Any]] = {}
    failure: str | None = None
    try:
        async with administrator_of(provider, LOOK_SECONDS) as administrator:
            for bound in subscriptions:
                try:
                    backlog = await administrator.backlog(bound)
                except FastlaneError as error:
                    found[bound.source] = {**unknown, "error": redacted(f"provider {provider.name!r}: {error}")}
                else:
                    counts = {key: getattr(backlog, key) for key in (*_WORDS, "paused")}
                    found[bound.source] = {**counts, "error": None}
    except FastlaneError as error:
        failure = redacted(str(error))
    return {bound.source: found.get(bound.source, {**unknown, "error": failure}) for bound in subscriptions}


def _line(row: dict[str, Any]) -> str:
    if row["subscription"] is None:
        return f"{row['topic']}  ({row['provider']}: {row['physical']})"
    counts = ", ".join(f"{'unknown' if row[key] is None else row[key]} {word}" for key, word in _WORDS.items())
    return f"  {row['subscription']}  ({row['physical']})  {counts}{', paused' if row['paused'] else ''}"


def _count(number: int) -> str:
    return f"{number} dead {'letter' if number == 1 else 'letters'}"


def _tell(count: int, subscription: str, done: str, ids: tuple[str, ...]) -> None:
    click.echo(f"{_count(count)} of {subscription} {done}")
    lacking = len(set(ids)) - count
    if lacking > 0:
        raise click.ClickException(f"{lacking} of the IDS {'is' if lacking == 1 else 'are'} not among its dead letters")


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "reason": letter.reason,
        "error": redacted(letter.error),
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


def _set_paused(options: dict[str, Any], subscription: str, paused: bool) -> None:
    async def work(service: PubSubService) -> None:
        provider, bound = find(service, subscription)
        async with administrator_of(provider) as administrator:
            await administrator.pause(bound, paused)

    with_service(options, work)
    click.echo(f"{subscription} {'is paused' if paused else 'goes on'}")
