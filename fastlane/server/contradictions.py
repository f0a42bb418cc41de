"""Options that are fine by themselves, and not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlane.server.options import ServeOptions

__all__ = ["contradictions"]


def contradictions(options: ServeOptions) -> Iterator[str]:
    """A text for each, by the names of the flags."""
    if options.uds is not None and options.fd is not None:
        yield "--uds and --fd contradict each other: give one of them"
    if options.certfile is None:
        for name in ("keyfile", "keyfile_password", "ca_certs"):
            if getattr(options, name) is not None:
                yield f"--{name.replace('_', '-')} needs --certfile"
    if options.health_host is not None and options.health_port is None:
        yield "--health-host needs --health-port"
    if options.health_path is not None and options.health_path == options.ready_path:
        yield "--health-path and --ready-path contradict each other: they are the same path"
    if options.subscriptions is not None and "subscriptions" not in options.run:
        wanted, roles = ",".join(options.subscriptions), ",".join(options.run)
        yield (
            f"--subscriptions {wanted} and --run {roles} contradict each other: "
            "nothing is consumed without --run subscriptions"
        )
    if options.limit_request_line > options.limit_head:
        yield (
            f"--limit-request-line ({options.limit_request_line}) is larger than --limit-head ({options.limit_head}), "
            "which includes it"
        )
