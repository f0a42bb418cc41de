"""What a broker can do, as one table: boot refuses by it, and the documentation is generated from it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Capabilities"]


class Capabilities(Struct, frozen=True, kw_only=True):
    """Times are seconds, None is "without limit".

    Attributes:
        ordering: keeps the order of a key.
        blocks_key: hands out nothing behind a message of the same key that failed and waits for its next attempt. Where
            it does not, a failed head is held here, leased, until its time has come.
        receive_limit: how many messages one receive may bring, and how many acknowledgements fill a request; None: as
            many as asked.
        receives: how many receives of a subscription without order may run side by side while they come back full.
        ordered_limit: how many messages one receive of an ordered subscription may bring; None: ``receive_limit``.
        ordered_receives: how many receives of an ordered subscription may run side by side. More than one only where
            the broker hands out nothing of a key while an earlier message of it is leased.
        exactly_once: deduplicates publishes, and confirms acknowledgements.
        exact_attempts: ``attempt`` counts handlers that started; elsewhere it counts receives, an upper bound.
        ack_deadline: least and most of a lease.
        max_backoff: most of a retry's delay.
        max_timeout: most of a handler's time.
        max_delay: most of a delayed publish; 0: none.
        ordered_delay: delays work on ordered topics, too.
        whole_seconds: delays and leases are rounded up to whole seconds.
        name_lengths: least and most characters of a physical name.
        batch_size, batch_bytes: most of one publish request.
        backlog, dead_letters, pause: where "how many wait" is known, and what can be listed and stopped.
        emulated: what the framework does in the broker's stead, in a few words each, for the documentation.
        loses: when a confirmed message can be lost nevertheless; for the documentation.
    """

    ordering: bool
    blocks_key: bool
    receive_limit: int | None = None
    receives: int = 1
    ordered_limit: int | None = None
    ordered_receives: int = 1
    exactly_once: bool
    exact_attempts: bool
    ack_deadline: tuple[float, float | None] = (0.1, None)
    max_backoff: float | None = None
    max_timeout: float | None = None
    max_delay: float | None = None
    ordered_delay: bool
    whole_seconds: bool = False
    name_lengths: tuple[int, int | None] = (1, None)
    batch_size: int = 100
    batch_bytes: int = 4 * 1024 * 1024
    backlog: bool = True
    dead_letters: Literal["listed", "received"] = "listed"
    pause: bool = True
    emulated: tuple[str, ...] = ()
    loses: str = "never"
