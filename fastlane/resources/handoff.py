"""What the boot process leaves to every process of its generation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fastlane.resources.configuration import ResourceConfiguration

__all__ = ["VARIABLE", "Handoff", "inherited_handoff"]

VARIABLE = "FASTLANE_HANDOFF"
"""In the environment of a command that ``fastlane exec`` runs: the descriptor of a memory file that has a `Handoff`."""

_MARK = b"fastlane handoff\n"


class Handoff(Struct, frozen=True, kw_only=True):
    """The configuration as it was when the generation booted, and what the services found or started then.

    It holds secrets: it travels in inherited memory, and is never shown.

    Attributes:
        name: what errors call the configuration file.
        file: its path; None if there was none.
        document: its text as it was read, to be resolved anew when a secret changes.
        configuration: with every reference resolved.
        referenced: the names of the secrets that it referred to.
        reports: what each service's `prepare` answered, by its name.
    """

    name: str
    file: str | None
    document: dict[str, Any]
    configuration: ResourceConfiguration
    referenced: list[str]
    reports: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Handoff of {', '.join(self.reports) or 'nothing'}>"

    def encoded(self) -> bytes:
        """As octets; `decoded` reads them."""
        return _MARK + msgspec.json.encode(self)

    @classmethod
    def decoded(cls, octets: bytes) -> Handoff:
        """Raises ValueError: this is none."""
        if not octets.startswith(_MARK):
            raise ValueError("this is no handoff")
        return msgspec.json.decode(octets[len(_MARK) :], type=cls)


def inherited_handoff(environment: Mapping[str, str] = os.environ) -> Handoff | None:
    """What ``fastlane exec`` has left to this process; None if nothing, or if a program between has closed it."""
    number = environment.get(VARIABLE, "")
    if not number.isdecimal():
        return None
    try:
        octets = os.pread(int(number), os.fstat(int(number)).st_size, 0)
        return Handoff.decoded(octets)
    except (OSError, ValueError):
        return None
