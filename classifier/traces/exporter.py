"""Exports a model's traces to a folder, from where the last export ended."""

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from classifier.errors import DatasetError
from classifier.traces.parquet import PartWriter, last_part, part_path
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.trace_rows import to_row

_LAST_SEQUENCE = 2**64 - 1


class Exporter:
    """Writes below `root`, one folder per model, parts of at most `max_rows` traces.

    `advance` is called for every trace. Prompts that were kept are left out unless `with_prompts`.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_rows: int,
        with_prompts: bool,
        advance: Callable[[], object],
    ) -> None:
        self._root = root
        self._max_rows = max_rows
        self._with_prompts = with_prompts
        self._advance = advance

    async def export(self, ledger: Ledger, model: str, since_s: float = 0.0) -> int:
        """Returns how many traces were written. `since_s` is unix time; older traces are skipped.

        Raises LedgerUnavailable with every whole part in its place, DatasetError for a folder that
        another export is writing or that holds something else.
        """
        folder = self._root / f"model={quote(model, safe='')}"
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            number, last_id = last_part(folder)
            after_id = max(last_id, _id_before(since_s), key=_order)
            traces = ledger.read_traces(model, after_id=after_id)
            return await self._write(traces, folder, number, model)

    async def _write(
        self,
        traces: AsyncIterator[tuple[str, Settlement]],
        folder: Path,
        number: int,
        model: str,
    ) -> int:
        num_written, is_full = 0, True
        while is_full:
            number += 1
            with PartWriter(part_path(folder, number), model) as part:
                await self._fill(part, traces)
            num_written += len(part)
            is_full = len(part) == self._max_rows
        return num_written

    async def _fill(self, part: PartWriter, traces: AsyncIterator[tuple[str, Settlement]]) -> None:
        async for trace_id, settlement in traces:
            part.append(to_row(trace_id, settlement, with_prompt=self._with_prompts))
            self._advance()
            if len(part) == self._max_rows:
                return


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock is the folder's own, and ends with the process whatever ends it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatasetError(f"{folder}: another export is writing there") from error


def _id_before(time_s: float) -> str:
    """The largest stream id before the time."""
    milliseconds = round(time_s * 1e3)
    return f"{milliseconds - 1}-{_LAST_SEQUENCE}" if milliseconds > 0 else "0"


def _order(trace_id: str) -> tuple[int, ...]:
    return tuple(map(int, trace_id.split("-")))
