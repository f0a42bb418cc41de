"""How many connections a worker may open: what the server has, over everybody who wants some."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["MOST", "Sharing", "Size", "size_of"]

MOST = 10
"""A worker is one thread of Python: more than this many queries at a time only wait for each other."""


class Sharing(Struct, frozen=True, kw_only=True):
    """Who shares a server.

    Attributes:
        instances: machines.
        workers: of each machine.
        databases: of this app, on the same server.
        reserved: connections that are left to others.
        messages: connections of a worker for a broker that is in the database.
        cron: connections of a worker for cron jobs, whose runs are in the database.
        outbox: connections of a machine for the outbox of each database.
    """

    instances: int = 1
    workers: int = 1
    databases: int = 1
    reserved: int = 3
    messages: int = 0
    cron: int = 0
    outbox: int = 0


class Size(Struct, frozen=True):
    """The answer, and how it came about.

    Attributes:
        most: connections of one worker's pool, 1 to `MOST`.
        arithmetic: for the log.
        short: the server has fewer than every worker needs during a roll.
    """

    most: int
    arithmetic: str
    short: bool


def size_of(*, server: int, kept: int, sharing: Sharing) -> Size:
    """The pool of one worker: ⌊(server − kept − reserved) / (instances · databases · workers · 2)⌋ − 1, 1 to `MOST`;
    less, where there are such things, by what `Sharing` says of messages, cron jobs and the outbox.

    Args:
        server: connections that the server lets this user open (``max_connections``, or a lower limit of the role or
            the database).
        kept: of these, what the server keeps for superusers and reserved roles.
        sharing: see `Sharing`.

    Twice, because the old and the new generation of workers live side by side during a roll; one less, because LISTEN
    takes a connection of its own. An outbox is not counted twice: one process of a machine has it, old or new.
    """
    outbox = sharing.outbox * sharing.instances * sharing.databases
    free = server - kept - sharing.reserved - outbox
    parts = sharing.instances * sharing.databases * sharing.workers * 2
    share = free // parts - 1 - sharing.messages - sharing.cron
    most = max(1, min(MOST, share))
    product = [f"{sharing.instances} instance(s)", f"{sharing.workers} worker(s)", "2 generations"]
    if sharing.databases > 1:
        product.insert(1, f"{sharing.databases} databases")
    relays = f" − {outbox} for the outbox" if outbox else ""
    messages = f" − {sharing.messages} for messages" if sharing.messages else ""
    cron = f" − {sharing.cron} for cron jobs" if sharing.cron else ""
    arithmetic = (
        f"({server} connections − {kept} kept by the server − {sharing.reserved} reserved{relays})"
        f" / ({' · '.join(product)}) − 1 for LISTEN{messages}{cron} = {share}; at most {MOST}, at least 1: {most}"
    )
    return Size(most, arithmetic, share < 1)
