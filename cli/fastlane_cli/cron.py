"""``fastlane cron``: an application's jobs from the command line."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fastlane.errors import ConfigurationError
from fastlane_cli.resources import Target, run, target_options

if TYPE_CHECKING:
    from fastlane.cron.job import CronJob
    from fastlane.cron.store import Run, Store

__all__ = ["command"]


@click.group("cron")
def command() -> None:
    """Cron jobs: when they are due, what became of them, and running one by hand."""


@command.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_jobs(as_json: bool, **options: Any) -> None:
    """List the jobs of TARGET: schedule, and the next tick."""
    target = Target(**options)
    now = datetime.now(UTC)
    rows = [
        {
            "name": job.name,
            "schedule": str(job.schedule),
            "next": job.schedule.after(now).isoformat(),
            "overlap": job.settings.overlap,
            "declared": f"{os.path.relpath(job.place.file)}:{job.place.line}",
        }
        for job in _jobs().values()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}  {row['schedule']}  next {row['next']}  overlap {row['overlap']}  {row['declared']}")
    if not rows:
        click.echo(f"{target.name} declares no cron job")


@command.command("run")
@target_options
@click.argument("name")
def run_job(name: str, **options: Any) -> None:
    """Run the job NAME now, in this process, with TARGET's resources bound. Exit code 1 if it fails.

    It is recorded like any other run, and kept from running beside a live one as its overlap policy says.
    """
    from fastlane.cron.run import Tick
    from fastlane.tenancy import script

    target = Target(**options)
    job = _job(target, name)
    surroundings = target.surroundings

    async def main() -> bool:
        async with AsyncExitStack() as stack:
            store = await _open_store(target, stack)
            # By the store's clock; never a whole second, so that this run takes no tick's place.
            moment, _ = await store.look()
            moment = moment.replace(microsecond=moment.microsecond or 1) - timedelta(seconds=1)
            claim = await store.claim(name, moment, f"{socket.gethostname()}:{os.getpid()}:hand", job.settings.overlap)
            if claim is None:
                click.echo(f"{name}: another run is live (overlap {job.settings.overlap}): not run")
                return False
            try:
                async with script(surroundings.config, surroundings.embedded):
                    await _held(job, Tick(name, moment, 1), store, claim)
            except Exception as error:
                await store.finish(claim, "failed", f"{type(error).__name__}: {error}"[:500])
                raise click.ClickException(f"{name}: {type(error).__name__}: {error}") from error
            await store.finish(claim, "done", None)
            click.echo(f"{name}: done")
            return True

    if not run(main()):
        sys.exit(1)


@command.command("history")
@target_options
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, help="At most so many, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def history(name: str | None, limit: int, as_json: bool, **options: Any) -> None:
    """Show what became of the ticks, of the job NAME or of all."""
    target = Target(**options)
    if name is not None:
        _job(target, name)

    async def main() -> list[Run]:
        async with AsyncExitStack() as stack:
            store = await _open_store(target, stack)
            return list(await store.history(name, limit))

    for_people = not as_json
    runs = run(main())
    if not for_people:
        click.echo(json.dumps([_described(one) for one in runs], indent=2))
        return
    for one in runs:
        took = ""
        if one.finished_at and one.started_at:
            took = f"  {(one.finished_at - one.started_at).total_seconds():.2f} s"
        attempt = f"  attempt {one.attempt}" if one.attempt > 1 else ""
        error = f"  {one.error}" if one.error else ""
        click.echo(f"{one.scheduled_at:%Y-%m-%d %H:%M:%S}  {one.job}  {one.state}{took}{attempt}{error}")
    if not runs:
        click.echo("no run yet")


async def _held(job: CronJob, tick: Any, store: Store, claim: Any) -> None:
    """Run the job while its claim is renewed."""
    import asyncio

    from fastlane.cron.run import call_handler
    from fastlane.cron.store import LEASE_SECONDS

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await store.renew(claim)

    renewing = asyncio.ensure_future(renew())
    try:
        await call_handler(job, tick)
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})


async def _open_store(target: Target, stack: AsyncExitStack) -> Store:
    """The store that the configuration names, outside of a running app."""
    from fastlane.cron.service import CronService

    service = await target.service(CronService, "cron job")
    if service.store != "database":
        store = service.open_store()
    else:
        from fastlane.sql.service import SqlService

        databases = await target.service(SqlService, "database")
        stack.push_async_callback(databases.close)
        databases.receive(await databases.prepare())
        store = service.open_store(databases.settings_of)
    stack.push_async_callback(store.close)
    return store


def _described(one: Run) -> dict[str, Any]:
    return {
        "job": one.job,
        "scheduled_at": one.scheduled_at.isoformat(),
        "state": one.state,
        "attempt": one.attempt,
        "owner": one.owner,
        "started_at": one.started_at.isoformat() if one.started_at else None,
        "finished_at": one.finished_at.isoformat() if one.finished_at else None,
        "error": one.error,
    }


def _jobs() -> dict[str, CronJob]:
    from fastlane.cron.job import CronJob
    from fastlane.resources.declaration import declared_resources

    return declared_resources(CronJob)


def _job(target: Target, name: str) -> CronJob:
    jobs = _jobs()
    if name not in jobs:
        raise ConfigurationError(
            f"{target.name} declares no cron job {name!r}\n    mend: write one of {', '.join(jobs) or 'none'}"
        )
    return jobs[name]
