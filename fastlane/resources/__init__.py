"""What topics, databases, secrets and cron jobs have in common: being declared, being configured, being bound."""

from __future__ import annotations

import sys

__all__ = ["are_declared"]


def are_declared() -> bool:
    """Whether this process has a declared resource. Costs nothing where it has none: nothing is imported."""
    module = sys.modules.get("fastlane.resources.declaration")
    return module is not None and bool(module.declared_kinds())
