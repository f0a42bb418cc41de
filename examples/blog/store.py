"""Posts in memory that all workers of one server share, gone when it ends.

The file has no name, and the workers inherit it from the process that imported the application. A post is written as
one line of JSON; the newest line of a post is what it is now. A real application keeps its posts in a database.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec

from fastlane import ResourceExhausted

T = TypeVar("T", bound=msgspec.Struct)

CAPACITY = 16 << 20
START = 8  # the first eight bytes say where the lines end


class Store(Generic[T]):
    """Records by id. Reading costs nothing but a look whether something is new."""

    def __init__(self, record: type[T]) -> None:
        with tempfile.TemporaryFile(prefix="fastlane-blog-") as file:
            file.truncate(CAPACITY)
            self._memory = mmap.mmap(file.fileno(), CAPACITY)
            self._file = os.dup(file.fileno())
        self._decode: Callable[[bytes], T] = msgspec.json.Decoder(record).decode
        self._encode = msgspec.json.Encoder().encode
        self._records: dict[int, T] = {}
        self._read_to = START
        struct.pack_into("<Q", self._memory, 0, START)

    def all(self) -> dict[int, T]:
        """Every record, the oldest first."""
        end = struct.unpack_from("<Q", self._memory)[0]
        if end != self._read_to:
            for line in self._memory[self._read_to : end].splitlines():
                number, _, data = line.partition(b" ")
                if data:
                    self._records[int(number)] = self._decode(data)
                else:
                    self._records.pop(int(number), None)
            self._read_to = end
        return self._records

    def add(self, make: Callable[[int], T]) -> T:
        """A new record, made from its id."""
        with self._alone():
            number = max(self.all(), default=0) + 1
            record = make(number)
            self._append(number, record)
        return record

    def change(self, number: int, change: Callable[[T], T]) -> T | None:
        """The record as ``change`` makes it; None where there is none."""
        with self._alone():
            record = self.all().get(number)
            if record is not None:
                record = change(record)
                self._append(number, record)
        return record

    def remove(self, number: int) -> None:
        with self._alone():
            if number in self.all():
                self._append(number, None)

    def _append(self, number: int, record: T | None) -> None:
        line = b"%d %b\n" % (number, self._encode(record) if record is not None else b"")
        end = self._read_to + len(line)
        if end > CAPACITY:
            raise ResourceExhausted("the blog is full: start it again for an empty one")
        self._memory[self._read_to : end] = line
        struct.pack_into("<Q", self._memory, 0, end)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, over all workers: record locks belong to a process, also on an inherited file."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
