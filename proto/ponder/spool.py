"""Settlements that Redis did not take, kept in a local file until it does.

One JSON line per record. `append` returns after fsync, so what it accepted survives a power cut;
it is used only while Redis is away, where a few milliseconds per request do no harm.
Not thread-safe; the calls block, so a coroutine makes them in a thread (see settler.py).
"""

import fcntl
import logging
import os
from itertools import islice, takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

from ponder.settlement import Settlement

_log = logging.getLogger(__name__)
_FILE_NAME = "settlements.jsonl"
_REJECTED_NAME = "rejected.jsonl"
_OFFSET_NAME = "settlements.offset"


class SpoolInUse(Exception):
    """Another process writes to this directory."""


class SpoolFull(Exception):
    """The record would make the spool larger than allowed; it was not taken."""


class Spool:
    """Append-only file in a directory of its own. One process at a time; the lock dies with it."""

    def __init__(self, directory: Path, max_bytes: int = 1 << 30) -> None:
        """Creates the directory. Raises SpoolInUse, or OSError when it cannot be written."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        self._file = (directory / _FILE_NAME).open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise SpoolInUse(f"{directory} is used by another process") from error
        self._drop_torn_tail()
        self._read_offset = self._noted_offset()

    @property
    def directory(self) -> Path:
        """Held by this process alone while the spool is open."""
        return self._directory

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be replayed."""
        return self._size_bytes() == self._read_offset

    def append(self, record: Settlement) -> None:
        """Raises SpoolFull, or OSError when the disk does not take it."""
        line = record.to_json().encode() + b"\n"
        if self._size_bytes() + len(line) > self._max_bytes:
            raise SpoolFull(f"{self._directory} holds {self._size_bytes()} bytes")
        self._write_durably(line)

    def next_records(self, most: int) -> list[Settlement]:
        """The oldest ones not yet done, in order. Lines that cannot be read are set aside."""
        while (line := self._next_line()) and _readable(line) is None:
            _log.error("unreadable settlement moved to %s", self._directory / _REJECTED_NAME)
            self.reject()
        self._file.seek(self._read_offset)
        lines = islice(self._file, most)
        # One that cannot be read ends the list, and is the first of the next.
        return [record for record in takewhile(bool, map(_readable, lines)) if record]

    def done(self, count: int = 1) -> None:
        """So many of those that next_records gave are settled. Clears the file after the last one.

        A restart goes on from there. After a power cut it may begin earlier; the ledger recognises
        what it has.
        """
        self._file.seek(self._read_offset)
        offset = self._read_offset + sum(map(len, islice(self._file, count)))
        is_last = offset == self._size_bytes()
        # First: an offset of 0 replays too much, one beyond the records would skip some.
        self._note_offset(0 if is_last else offset)
        if is_last:
            self._file.truncate(0)

    def reject(self) -> None:
        """Sets the next line aside, for a person to look at."""
        with (self._directory / _REJECTED_NAME).open("ab") as rejected:
            rejected.write(self._next_line())
            rejected.flush()
            os.fsync(rejected.fileno())
        self.done()

    def close(self) -> None:
        """Gives the directory free; records stay."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_durably(self, line: bytes) -> None:
        size = self._size_bytes()
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)
            raise

    def _next_line(self) -> bytes:
        self._file.seek(self._read_offset)
        return self._file.readline()

    def _size_bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _note_offset(self, offset: int) -> None:
        self._read_offset = offset
        with (self._directory / _OFFSET_NAME).open("w", encoding="ascii") as file:
            file.write(str(offset))
            file.flush()
            # An old offset must not outlive the records that it counts.
            if offset == 0:
                os.fsync(file.fileno())

    def _noted_offset(self) -> int:
        """0 when there is none, or none that can be right: one that a line begins at."""
        path = self._directory / _OFFSET_NAME
        text = path.read_text(encoding="ascii") if path.exists() else ""
        offset = int(text) if text.isdigit() else 0
        if not 0 < offset <= self._size_bytes():
            return 0
        self._file.seek(offset - 1)
        return offset if self._file.read(1) == b"\n" else 0

    def _drop_torn_tail(self) -> None:
        """A last line without its end was never accepted: the process died while writing it."""
        self._file.seek(0)
        whole = sum(len(line) for line in self._file if line.endswith(b"\n"))
        self._file.truncate(whole)


def pending_records(directory: Path) -> list[Settlement]:
    """What waits in the spool of another, perhaps running, process. Raises OSError.

    Some may have been settled meanwhile; lines that cannot be read are left out.
    """
    lines = (directory / _FILE_NAME).read_bytes().splitlines()
    return [record for line in lines if (record := _readable(line))]


def _readable(line: bytes) -> Settlement | None:
    try:
        return Settlement.from_json(line)
    except ValueError:
        return None
