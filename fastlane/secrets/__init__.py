"""Secrets, declared by name; where their values come from is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlane.secrets.secret import NoValue, Secret

if TYPE_CHECKING:
    from fastlane.secrets.service import SecretsService

__all__ = ["NoValue", "Secret", "SecretsService"]


def __getattr__(name: str) -> object:
    if name != "SecretsService":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastlane.secrets.service import SecretsService  # what only a runtime needs

    return SecretsService
