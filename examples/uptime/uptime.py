"""Uptime: looks every minute whether sites answer, keeps what it saw, and tells when one goes down or comes back.

All four kinds of resource: a cron job looks, a database remembers, a topic carries what changed, and a secret is the
webhook that is told. In this directory:

fastlane dev   uptime:app
fastlane serve uptime:app --embedded

curl --json '{"url": "https://example.com"}' http://127.0.0.1:8000/sites
fastlane cron run uptime:app check-sites --embedded     # now, and not at the next minute
curl http://127.0.0.1:8000/sites/1/checks
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from http.client import HTTPException
from typing import Annotated
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
from msgspec import Meta, Struct

from fastlane import AlreadyExists, App, NotFound
from fastlane.cron import Tick, cron
from fastlane.pubsub import Retry, Topic
from fastlane.secrets import Secret
from fastlane.sql import Database

logger = logging.getLogger("uptime")

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class NewSite(Struct):
    url: Annotated[str, Meta(pattern=r"^https?://[^\s/]+\S*$", max_length=2000)]


class Site(NewSite, kw_only=True):
    id: Id
    up: bool
    since: datetime


class Check(Struct):
    at: datetime
    problem: str | None
    milliseconds: float


class SiteChanged(Struct):
    url: str
    problem: str | None
    at: datetime


app = App(title="Uptime")
db = Database("uptime")
webhook = Secret("ALERT_WEBHOOK")
changes = Topic("site-changes", SiteChanged, order_by="url")  # "down" is never told after "up again"


@app.get("/sites")
async def list_sites() -> list[Site]:
    return await db.fetch_all(Site, "SELECT * FROM sites ORDER BY id")


@app.post("/sites", status=201)
async def add_site(new: NewSite) -> Site:
    query = "INSERT INTO sites (url) VALUES ($1) ON CONFLICT DO NOTHING RETURNING *"
    site = await db.fetch_optional(Site, query, new.url)
    if site is None:
        raise AlreadyExists(f"{new.url} is being watched")
    return site


@app.delete("/sites/{id}")
async def remove_site(id: Id) -> None:
    if not await db.execute("DELETE FROM sites WHERE id = $1", id):
        raise NotFound(f"no site {id}")


@app.get("/sites/{id}/checks")
async def list_checks(id: Id, limit: Annotated[int, Meta(ge=1, le=1000)] = 60) -> list[Check]:
    """The newest first."""
    return await db.fetch_all(Check, "SELECT * FROM checks WHERE site_id = $1 ORDER BY at DESC LIMIT $2", id, limit)


@cron("check-sites", every="1m", timeout="50s")
async def check_sites(tick: Tick) -> None:
    async with asyncio.TaskGroup() as group:
        for site in await list_sites():
            group.create_task(check(site, tick.scheduled_at))


@cron("forget", schedule="0 4 * * *")
async def forget() -> None:
    await db.execute("DELETE FROM checks WHERE at < now() - interval '30 days'")


async def check(site: Site, at: datetime) -> None:
    began = time.perf_counter()
    problem = await asyncio.to_thread(problem_of, site.url)
    milliseconds = 1000 * (time.perf_counter() - began)
    async with db.transaction() as tx:
        query = "UPDATE sites SET up = $2, since = $3 WHERE id = $1 AND up <> $2"
        if await tx.execute(query, site.id, problem is None, at):
            await changes.publish(SiteChanged(site.url, problem, at), tx=tx)
        # Perhaps the site was removed meanwhile, or this is the second attempt at the same tick.
        query = "INSERT INTO checks SELECT id, $2, $3, $4 FROM sites WHERE id = $1 ON CONFLICT DO NOTHING"
        await tx.execute(query, site.id, at, problem, milliseconds)


def problem_of(url: str) -> str | None:
    """Why a site can't be used; None: it answers."""
    try:
        with urlopen(Request(url, headers={"user-agent": "uptime"}), timeout=10):
            return None
    except HTTPError as error:
        with error:
            return f"status {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return str(error)


@changes.subscribe("alert", retry=Retry(min_backoff=1, max_backoff="10m", max_attempts=20))
def alert(change: SiteChanged) -> None:  # no `async`: it runs in a thread, and may wait there
    text = "is up again" if change.problem is None else f"is down: {change.problem}"
    body = msgspec.json.encode({"text": f"{change.url} {text}"})
    with urlopen(Request(webhook.get(), body, {"content-type": "application/json"}), timeout=10):
        pass


class Alert(Struct):
    text: str


@app.post("/alerts")
async def hear_alert(alert: Alert) -> None:
    """Stands for a chat's webhook: .env leads here."""
    logger.warning("%s", alert.text)
