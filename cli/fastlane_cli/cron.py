"""``fastlane cron``: an application's jobs from the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.redaction import redacted
from fastlane_cli.resources import Target, bound, run, target_options

if TYPE_CHECKING:
    from fastlane.cron.job import CronJob
    from fastlane.cron.run import Tick
    from fastlane.cron.store import Claim, Run, Store

__all__ = ["command"]

KEPT = 100
"""Of a job's runs, as many as its store keeps."""


@click.group("cron")
def command() -> None:
    """Cron jobs: when they are due, what became of them, and running one by hand."""


@command.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def list_jobs(as_json: bool, **options: Any) -> None:
    """List jobs, with schedule and next tick. Needs no configuration.

    Example: fastlane cron list app:app
    """
    target = Target(**options, is_checked=False)
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
    """Run the job NAME now, in this process. Exit code 1 unless it succeeds.

    TARGET's resources are bound. It is recorded like any other run, and kept from running beside a live one as its
    overlap policy says; it is not retried.

    Example: fastlane cron run app:app trending --dev
    """
    target = Target(**options)
    job = _job(target, name)
    try:
        run(_ended_by_signals(_run_now(target, job, options)))
    except _Terminated:
        sys.exit(128 + signal.SIGTERM)


async def _run_now(target: Target, job: CronJob, options: dict[str, Any]) -> None:
    from fastlane.cron.run import Tick, one_line
    from fastlane.cron.service import CronService

    name, overlap = job.name, job.settings.overlap
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bound(options["config"], options["embedded"], options["dev"]))
        store = (await target.service(CronService, "cron job")).open_store()
        stack.push_async_callback(store.close)
        # By the store's clock; never a whole second, so that this run takes no tick's place.
        moment, _ = await store.look()
        moment = moment.replace(microsecond=moment.microsecond or 1) - timedelta(seconds=1)
        claim = await store.claim(name, moment, f"{socket.gethostname()}:{os.getpid()}:hand", overlap)
        if claim is None:
            left = next((run.state for run in await store.history(name, KEPT) if run.scheduled_at == moment), "skipped")
            after = "it is queued, for a worker to run" if left == "queued" else "not run"
            raise click.ClickException(f"{name}: another run is live (overlap {overlap}): {after}")
        try:
            await _held(job, Tick(name, moment, 1), store, claim)
        except asyncio.CancelledError:
            await store.finish(claim, "failed", "interrupted")
            raise
        except LeaseLost as error:
            raise click.ClickException(f"{name}: {error}") from error
        except Exception as error:
            line = one_line(error)
            await store.finish(claim, "failed", line)
            _show(error, job)
            raise click.ClickException(f"{name}: {line}") from error
        await store.finish(claim, "done", None)
        click.echo(f"{name}: done")


@command.command("history")
@target_options
@click.argument("name", required=False)
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many, the newest first."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def history(name: str | None, limit: int, as_json: bool, **options: Any) -> None:
    """Show what became of the ticks, of the job NAME or of all.

    Example: fastlane cron history app:app trending --limit 5
    """
    target = Target(**options)
    if name is not None:
        _job(target, name)

    async def main() -> list[Run]:
        async with AsyncExitStack() as stack:
            store = await _open_store(target, stack)
            return list(await store.history(name, limit))

    runs = run(main())
    if as_json:
        click.echo(json.dumps([_described(one) for one in runs], indent=2))
        return
    for one in runs:
        took = ""
        if one.finished_at and one.started_at:
            took = f"  {(one.finished_at - one.started_at).total_seconds():.2f} s"
        attempt = f"  attempt {one.attempt}" if one.attempt > 1 else ""
        error = f"  {redacted(one.error)}" if one.error else ""
        click.echo(f"{one.scheduled_at:%Y-%m-%d %H:%M:%S}  {one.job}  {one.state}{took}{attempt}{error}")
    if not runs:
        click.echo("no run yet")


class LeaseLost(FastlaneError):
    """The run is somebody else's by now."""


class _Terminated(BaseException):
    """SIGTERM came."""


async def _ended_by_signals(work: Coroutine[Any, Any, None]) -> None:
    """As Ctrl-C does already, SIGTERM cancels it: a run that ends is recorded as ended, and not started again."""
    task = asyncio.ensure_future(work)
    is_told = False

    def terminate() -> None:
        nonlocal is_told
        is_told = True
        task.cancel()

    loop = asyncio.get_running_loop()
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        await task
    except asyncio.CancelledError:
        if is_told:
            raise _Terminated from None
        raise


async def _held(job: CronJob, tick: Tick, store: Store, claim: Claim) -> None:
    """Run the job while its claim is renewed.

    Raises:
        LeaseLost: it could not be; the job was cancelled.
    """
    from fastlane.cron.run import call_handler

    work = asyncio.ensure_future(call_handler(job, tick))
    keeper = asyncio.ensure_future(_keep(store, claim))
    try:
        await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise LeaseLost("cancelled: the store of runs was out of reach, and somebody else may have started it")
        work.result()
    finally:
        work.cancel()
        keeper.cancel()
        await asyncio.wait({work, keeper})


async def _keep(store: Store, claim: Claim) -> None:
    """Ends when the lease is lost."""
    from fastlane.cron.store import LEASE_SECONDS, StoreUnavailable

    loop = asyncio.get_running_loop()
    until = loop.time() + LEASE_SECONDS
    while loop.time() < until:
        await asyncio.sleep(min(LEASE_SECONDS / 3, until - loop.time()))
        asked = loop.time()
        with contextlib.suppress(StoreUnavailable):
            if not await store.renew(claim):
                return
            until = asked + LEASE_SECONDS


def _show(error: BaseException, job: CronJob) -> None:
    """The traceback, from where the job's own code begins: it is its author who runs it by hand."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != job.place.file:
        trace = trace.tb_next
    if trace is not None:
        lines = traceback.format_exception(type(error), error, trace)
        click.echo(redacted("".join(lines)), err=True, nl=False)


async def _open_store(target: Target, stack: AsyncExitStack) -> Store:
    """The store that the configuration names, outside of a running app."""
    from fastlane.cron.service import CronService

    service = await target.service(CronService, "cron job")
    if service.store != "database":
        store = service.open_store()
    else:
        from fastlane.sql.preparation import embedded_urls
        from fastlane.sql.service import SqlService

        databases = await target.service(SqlService, "database")
        databases.receive(await embedded_urls(databases, stack))
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
        "error": redacted(one.error) if one.error else None,
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
