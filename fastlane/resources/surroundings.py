"""Where a process stands: what it is for, which of how many it is, and what it may use."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["ALL_ROLES", "SCOPE_EXTENSION", "Mode", "Role", "Surroundings"]

Mode: TypeAlias = Literal["serve", "dev", "test", "script"]
Role: TypeAlias = Literal["http", "subscriptions", "cron"]

ALL_ROLES: tuple[Role, ...] = ("http", "subscriptions", "cron")
SCOPE_EXTENSION = "fastlane.surroundings"
"""Under this key of ``scope["extensions"]`` our servers and test clients tell the app's lifespan its surroundings.

Any other ASGI server leaves it out: then the app is on its own, and reads its configuration as ``fastlane serve`` does.
"""


class Surroundings(Struct, frozen=True, kw_only=True):
    """How a process was started.

    Attributes:
        mode: ``serve`` (production), ``dev``, ``test``, or ``script`` (binds and publishes; no subscription, no cron).
        embedded: what has no configuration is embedded (``dev`` and tests always; ``--embedded``).
        config: the path of the configuration file that was asked for; None: the default rules of the mode.
        index: of this worker, from 0. A successor has its predecessor's.
        workers: of this instance; ``max_concurrency`` is split over them.
        generation: one more with each reload.
        roles: what the workers do.
        subscriptions: the only ones that are consumed, ``topic/subscription`` or ``subscription``; None: all.
        boot_timeout: seconds that the boot process waits for what can't be reached.
    """

    mode: Mode
    embedded: bool = False
    config: str | None = None
    index: int = 0
    workers: int = 1
    generation: int = 1
    roles: tuple[Role, ...] = ALL_ROLES
    subscriptions: tuple[str, ...] | None = None
    boot_timeout: float = 60.0
