"""The access log: one line an answer, gathered and written together.

On a terminal, and with ``--log-format text``::

    2026-03-01T12:00:00+00:00 127.0.0.1 "GET /posts/3 HTTP/1.1" 200 57 0.42ms

With ``--log-format json``, one object a line::

    {"time":"2026-03-01T12:00:00.000Z","logger":"fastlane.access","client":"127.0.0.1","method":"GET","target":"/posts/3",
     "protocol":"HTTP/1.1","status":200,"size":57,"microseconds":420}

Nothing that a client sends can break out of its line or its quotes: whatever is not printable ASCII, and a double
quote, is written as ``\\xhh``, a backslash as two (and in JSON each of those backslashes is doubled once more).
"""

from __future__ import annotations

import os
import select
import stat
import time
from typing import TYPE_CHECKING, Literal

from fastlane.redaction import is_active, redacted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AccessLog"]

FLUSH_SECONDS = 0.05
"""How long a line waits for others, at most."""

BATCH = 512
"""Lines that are formatted together, at most: about 0.4 ms of the loop's time."""

PENDING_SIZE = 1 << 20
"""Bytes that wait for a reader who is too slow. What is over it is dropped, and counted."""

_SAFE = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_NOTICE = b"-- %d lines are missing: nobody read the access log --\n"
_JSON_NOTICE = b'{"logger":"fastlane.access","message":"lines are missing: nobody read the access log","missing":%d}\n'
_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}

Entry = tuple[str, str, str, str, int, int, float]


class AccessLog:
    """Formats and writes in batches, so that an answer costs one list append and its share of a batch.

    Args:
        call_later: the loop's, ``call_later(seconds, callback)``.
        descriptor: where the lines go; default: standard output. It is neither closed nor made non-blocking, since
            other processes share it.
        log_format: ``"text"`` or ``"json"``.
        clock: seconds since 1970. All lines of a batch carry the time of its writing.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        *,
        descriptor: int = 1,
        log_format: Literal["text", "json"] = "text",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._call_later = call_later
        self._descriptor = descriptor
        self._clock = clock
        self._is_terminal = os.isatty(descriptor)
        self._render = _json_lines if log_format == "json" else _terminal_lines if self._is_terminal else _text_lines
        self._quotes = self._render([("", "", "", "", 0, 0, 0.0)], 0.0).count('"')
        self._escaped = _escaped_for_json if log_format == "json" else _escaped
        self._notice = _JSON_NOTICE if log_format == "json" else _NOTICE
        # Workers share one pipe: only writes of up to PIPE_BUF are atomic, and known not to block when poll says so.
        mode = os.fstat(descriptor).st_mode
        self._piece = select.PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else 1 << 16
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._entries: list[Entry] = []
        self._pending = bytearray()
        self._timer_runs = False
        self._dropped = 0
        self._is_closed = False

    def log_access(
        self, client: str, method: str, target: str, http_version: str, status: int, size: int, seconds: float
    ) -> None:
        """Note one answer.

        Args:
            client: the peer's address, or what a trusted proxy says it is; empty where there is none.
            method, target, http_version: of the request; the target as it came, a character for each byte.
            status: of the answer.
            size: bytes of the answer's body.
            seconds: from the request's head to the last byte handed to the transport.
        """
        # PERF: 0.1 µs here; formatting costs 0.6 µs more a line in the batch, and one write for all of them.
        entries = self._entries
        entries.append((client, method, target, http_version, status, size, seconds))
        if not self._timer_runs:
            self._timer_runs = True
            self._call_later(FLUSH_SECONDS, self._on_timer)
        elif len(entries) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Format what was noted and write as much as the reader takes without blocking."""
        if self._pending:
            self._write()
        entries = self._entries
        if entries and not self._is_closed:
            if len(self._pending) > PENDING_SIZE:
                self._dropped += len(entries)
            else:
                if self._dropped:
                    self._pending += self._notice % self._dropped
                    self._dropped = 0
                self._pending += self._formatted(entries)
                self._write()
        entries.clear()

    def close(self) -> None:
        """Write what is left, waiting up to a second for a slow reader. Afterwards nothing is written any more."""
        self.flush()
        end = time.monotonic() + 1.0
        while self._pending and (left := end - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            self._write()
        self._pending.clear()
        self._is_closed = True

    def _on_timer(self) -> None:
        self._timer_runs = False
        self.flush()
        if self._pending and not self._timer_runs:
            self._timer_runs = True
            self._call_later(FLUSH_SECONDS, self._on_timer)

    def _formatted(self, entries: list[Entry]) -> bytes:
        now = self._clock()
        if is_active():
            entries = _redacted(entries)
        text = self._render(entries, now)
        data = text.encode("utf-8", "surrogatepass")
        # PERF: one look at the whole batch costs 0.07 µs a line, one at each field 0.3 µs. The batch is safe when the
        # expected number of line ends and quotes is in it, and nothing else outside the safe set.
        count = len(entries)
        if (
            self._is_terminal
            or data.count(b"\n") != count
            or data.count(b'"') != count * self._quotes
            or len(data.translate(None, _SAFE)) != count * (self._quotes + 1)
        ):
            data = self._render([self._escaped(entry) for entry in entries], now).encode("ascii")
        return data

    def _write(self) -> None:
        pending = self._pending
        while pending:
            if not self._poll.poll(0):
                return
            piece = pending[: self._piece]
            if len(piece) == self._piece and (end := piece.rfind(b"\n")) >= 0:
                del piece[end + 1 :]  # whole lines only, so that the lines of two workers never mix
            try:
                written = os.write(self._descriptor, piece)
            except BlockingIOError:
                return
            except OSError:  # the reader is gone, or the disk is full: serving goes on without the lines
                self._dropped += pending.count(b"\n")
                pending.clear()
                return
            del pending[:written]


def _redacted(entries: list[Entry]) -> list[Entry]:
    """Without hidden values in the targets, where alone a client puts any."""
    # PERF: 0.1 µs a line: the targets of a batch are looked at together, each of them once.
    targets = "\n".join({entry[2] for entry in entries})
    if redacted(targets) == targets:
        return entries
    return [(entry[0], entry[1], redacted(entry[2]), *entry[3:]) for entry in entries]


def _text_lines(entries: list[Entry], now: float) -> str:
    stamp = _local_time(now)
    return "".join(
        [
            f'{stamp} {client or "-"} "{method} {target} HTTP/{version}" {status} {size} {seconds * 1000:.2f}ms\n'
            for client, method, target, version, status, size, seconds in entries
        ]
    )


def _terminal_lines(entries: list[Entry], now: float) -> str:
    stamp = time.strftime("%H:%M:%S", time.localtime(now))
    return "".join(
        [
            f"\x1b[2m{stamp} {client or '-'}\x1b[0m {method} {target} "
            f"{_COLOURS.get(status // 100, '')}{status}\x1b[0m \x1b[2m{size} B {seconds * 1000:.2f} ms\x1b[0m\n"
            for client, method, target, _, status, size, seconds in entries
        ]
    )


def _json_lines(entries: list[Entry], now: float) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    return "".join(
        [
            f'{{"time":"{stamp}","logger":"fastlane.access","client":"{client}","method":"{method}",'
            f'"target":"{target}","protocol":"HTTP/{version}","status":{status},"size":{size},'
            f'"microseconds":{int(seconds * 1000000)}}}\n'
            for client, method, target, version, status, size, seconds in entries
        ]
    )


def _local_time(now: float) -> str:
    zone = time.strftime("%z", time.localtime(now))
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now)) + f"{zone[:3]}:{zone[3:]}"


def _escaped(entry: Entry) -> Entry:
    client, method, target, version, status, size, seconds = entry
    return _plain(client), _plain(method), _plain(target), _plain(version), status, size, seconds


def _escaped_for_json(entry: Entry) -> Entry:
    client, method, target, version, status, size, seconds = _escaped(entry)
    one, two = "\\", "\\\\"
    texts = (client.replace(one, two), method.replace(one, two), target.replace(one, two), version.replace(one, two))
    return (*texts, status, size, seconds)


def _plain(text: str) -> str:
    """Printable ASCII without quotes: ``unicode_escape`` takes care of the rest, the backslash included."""
    return text.encode("unicode_escape").decode("ascii").replace('"', "\\x22").replace("\x7f", "\\x7f")
