"""Cron jobs: functions that run on a schedule, once per tick, whatever the number of workers and machines.

from fastlane.cron import cron

@cron("trending", every="10m")            # or schedule="0 4 * * *", timezone="Europe/Stockholm"
async def refresh_trending() -> None: ...
"""

from __future__ import annotations

from fastlane.cron.job import CronJob, cron
from fastlane.cron.run import Tick

__all__ = ["CronJob", "Tick", "cron"]
