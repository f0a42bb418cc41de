"""Secrets, declared by name; where their values come from is configured."""

from __future__ import annotations

from fastlane.secrets.secret import NoValue, Secret

__all__ = ["NoValue", "Secret"]
