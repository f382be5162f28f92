"""Settlements of the last minutes that Redis acknowledged, kept on disk in case it forgets them.

Redis replicates after it replies: a failover to a replica, a restart from an older snapshot or a
FLUSHALL loses what was acknowledged. Whoever settled it then says it again (see settler.py), and
the ledger recognises what it still has.

JSON lines in a few files, each named by when it was begun. `append` does not wait for the disk:
what it took survives the death of the process, not a power cut just when Redis forgets too.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ponder.settlement import Settlement

_NUM_FILES: Final = 4
_PATTERN: Final = "acknowledged-*.jsonl"
_IDENTITY_NAME: Final = "redis-identity"


class Journal:
    """Belongs to the process that holds the spool of the same directory."""

    def __init__(
        self,
        directory: Path,
        life_s: float = 600.0,
        max_bytes: int = 256 << 20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keeps records for at least `life_s`, unless they need more than about `max_bytes`."""
        self._directory = directory
        self._life_s = life_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._path: Path | None = None
        self._begun_at_s = 0.0
        self._num_bytes = 0

    def append(self, record: Settlement) -> None:
        """Raises OSError when the disk does not take it."""
        line = record.to_json().encode() + b"\n"
        with self._current_path().open("ab") as file:
            file.write(line)
        self._num_bytes += len(line)

    def records(self) -> Iterator[Settlement]:
        """All of them, oldest first. A line that its writer did not live to finish is left out."""
        for path in self._paths():
            with path.open("rb") as file:
                for line in file:
                    if record := _readable(line):
                        yield record

    def known_identity(self) -> str:
        """Of the Redis that holds everything in the journal; empty when that is not known."""
        path = self._directory / _IDENTITY_NAME
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def note_identity(self, identity: str) -> None:
        """So that a process that restarts has nothing to say again to the same Redis."""
        if identity != self.known_identity():
            (self._directory / _IDENTITY_NAME).write_text(identity, encoding="utf-8")

    def _current_path(self) -> Path:
        now_s = self._clock()
        if self._path is None or self._is_full(now_s):
            self._drop_old(now_s)
            self._path, self._begun_at_s, self._num_bytes = self._path_of(now_s), now_s, 0
        return self._path

    def _is_full(self, now_s: float) -> bool:
        is_old = now_s - self._begun_at_s >= self._life_s / _NUM_FILES
        return is_old or self._num_bytes >= self._max_bytes / _NUM_FILES

    def _path_of(self, begun_at_s: float) -> Path:
        return self._directory / f"acknowledged-{round(begun_at_s * 1e6):020d}.jsonl"

    def _drop_old(self, now_s: float) -> None:
        """A file ends when the next one begins, the newest now."""
        end_s, num_bytes = now_s, 0
        for path in reversed(self._paths()):
            num_bytes += path.stat().st_size
            if end_s < now_s - self._life_s or num_bytes > self._max_bytes:
                path.unlink()
            end_s = _begun_at_s(path)

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob(_PATTERN))


def _begun_at_s(path: Path) -> float:
    return int(path.stem.rpartition("-")[2]) / 1e6


def _readable(line: bytes) -> Settlement | None:
    try:
        return Settlement.from_json(line)
    except ValueError:
        return None
