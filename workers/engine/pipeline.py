"""Runs step plans on device-resident rows, one decode step ahead of the scheduler.

When a step's tokens are sampled, the next step of the same rows is launched at once, from the
tokens on the device; only then does the host wait for them. The scheduler knows nothing of it:
when its next plan asks for what was launched - the same sequence, position, input token and
bans - the result is taken, and anything else is launched as planned. So tokens do not depend on
it; a row that ended or turned in between was computed in vain.

Pages need no quarantine. A step ahead may write to a page that has been freed meanwhile, but it
was enqueued before any work of the page's next owner, on the same in-order stream.
"""

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from workers.engine.plan import SampledRows, StepPlan
from workers.engine.row_mirror import Ints, RowMirror
from workers.engine.row_runner import Flight, RowRunner
from workers.engine.row_table import next_ban
from workers.engine.runner import ModelRunner, group_chunks
from workers.engine.sequence import Sequence
from workers.engine.streams import Stream


@dataclass(frozen=True, slots=True)
class Ahead:
    """A step that was launched before it was planned; arrays are (rows,)."""

    sequences: list[Sequence]
    slots: Ints
    num_tokens: Ints
    tokens: Ints  # the inputs, known since the step before has been read; likewise the bans
    bans: Ints
    flight: Flight


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a flight, and their places in `StepPlan.sampled`."""

    places: Ints
    flight: Flight
    rows: Ints


class PipelinedRunner:
    """The ModelRunner of a CUDA device: `prefill` computes chunks, `rows` decodes."""

    runs_ahead = True

    def __init__(
        self, prefill: ModelRunner, rows: RowRunner, mirror: RowMirror, stream: Stream
    ) -> None:
        self.prefill = prefill
        self.slots = prefill.slots
        self.num_rows_ahead = 0  # decode rows that were there when they were planned
        self.num_rows_late = 0  # decode rows that had to be launched when they were planned
        self.rows = rows
        self._mirror = mirror
        self.stream = stream
        self._ahead: Ahead | None = None

    def run(self, plan: StepPlan) -> SampledRows:
        """Compute a step."""
        try:
            return self._run(plan)
        except BaseException:
            self._forget_all()  # the step is tried again: rows may not be what the host thinks
            raise

    def _run(self, plan: StepPlan) -> SampledRows:
        pieces = [*self._decode(plan), *self._prefill(plan)]
        self._ahead = None
        bans = self.slots.ban[plan.sampled_slots]
        launched = self._launch_ahead(plan)
        sampled = _collect(pieces, len(plan.sampled))
        self._learn(plan, launched, sampled.tokens, bans)
        return sampled

    def copy_page(self, source: int, destination: int) -> None:
        """Copy one KV page, for the partial page of a fork."""
        self.stream.enqueue(lambda: self.prefill.copy_page(source, destination))

    def clear_page(self, page: int) -> None:
        """Zero one KV page, for values that must not reach its next owner."""
        self.stream.enqueue(lambda: self.prefill.clear_page(page))

    def _forget_all(self) -> None:
        self._ahead = None
        self._mirror.forget(np.arange(len(self.slots.position)))

    def _decode(self, plan: StepPlan) -> list[Piece]:
        """Decode rows: those that were launched ahead, and the others."""
        found = self._find_ahead(plan)
        is_late = found < 0
        late, early = is_late.nonzero()[0], (~is_late).nonzero()[0]
        self.num_rows_late += len(late)
        self.num_rows_ahead += len(early)
        pieces = []
        if len(early):
            assert self._ahead is not None
            pieces.append(Piece(early, self._ahead.flight, found[early]))
        if len(late):
            slots = plan.decode_slots[late]
            sequences = [plan.decode[place] for place in late.tolist()]
            updates = self._mirror.set_rows(sequences, slots, self.slots.position[slots] + 1)
            flight = self.rows.launch(slots, updates, nucleus=self._has_nucleus(slots))
            self._mirror.advance(slots)
            pieces.append(Piece(late, flight, np.arange(len(late))))
        return pieces

    def _find_ahead(self, plan: StepPlan) -> Ints:
        """Per decode row, the row of the step ahead that computed it; -1 if none did."""
        ahead, slots = self._ahead, plan.decode_slots
        if ahead is None:
            return np.full(len(slots), -1, np.int64)
        rows = {sequence: row for row, sequence in enumerate(ahead.sequences)}
        found = np.array([rows.get(sequence, -1) for sequence in plan.decode], np.int64)
        table = self.slots
        same = (
            (ahead.slots[found] == slots)
            & (ahead.num_tokens[found] == table.position[slots] + 1)
            & (ahead.tokens[found] == table.last_token[slots])
            & (ahead.bans[found] == table.ban[slots])
        )
        return np.where(same, found, -1)

    def _prefill(self, plan: StepPlan) -> list[Piece]:
        if not plan.chunks:
            return []
        self._mirror.forget(np.array([chunk.sequence.slot for chunk in plan.chunks]))
        parts = [self.prefill.prepare(*group) for group in group_chunks(plan.chunks)]
        ends = np.array([chunk.end for chunk in plan.chunks if chunk.samples], np.int64)
        if not len(ends):
            self.stream.enqueue(lambda: self.prefill.extend(parts))
            return []
        places = np.arange(len(plan.decode), len(plan.sampled))
        slots = plan.sampled_slots[places]
        updates = self._mirror.set_rows(plan.sampled[len(plan.decode) :], slots, ends)
        flight = self.rows.sample(
            lambda: self.prefill.logits(parts), slots, updates, nucleus=self._has_nucleus(slots)
        )
        self._mirror.advance(slots)
        return [Piece(places, flight, np.arange(len(slots)))]

    def _launch_ahead(self, plan: StepPlan) -> tuple[Ints, Ints, Flight] | None:
        """The next step of the rows that have a page for it: their places, lengths, flight."""
        places, num_tokens = self._find_next(plan)
        if not len(places):
            return None
        slots = plan.sampled_slots[places]
        updates = self._mirror.carry_rows(slots, num_tokens)
        flight = self.rows.launch(slots, updates, nucleus=self._has_nucleus(slots))
        self._mirror.advance(slots)
        return places, num_tokens, flight

    def _find_next(self, plan: StepPlan) -> tuple[Ints, Ints]:
        """Places in `plan.sampled` that can go on, and their tokens by then."""
        num_tokens = self.slots.position[plan.sampled_slots] + 2
        ends = [chunk.end for chunk in plan.chunks if chunk.samples]
        num_tokens[len(plan.decode) :] = np.array(ends, np.int64) + 1
        pages = np.fromiter((s.next_page for s in plan.sampled), np.int64, len(plan.sampled))
        places = (num_tokens <= pages * self._mirror.page_size).nonzero()[0]
        return places, num_tokens[places]

    def _learn(
        self,
        plan: StepPlan,
        launched: tuple[Ints, Ints, Flight] | None,
        tokens: Ints,
        bans: Ints,
    ) -> None:
        """Note what the rows hold, and what the step ahead has for inputs."""
        is_behind = np.ones(len(tokens), np.bool_)
        if launched is not None:
            places, num_tokens, flight = launched
            is_behind[places] = False
            self._ahead = Ahead(
                sequences=[plan.sampled[place] for place in places.tolist()],
                slots=plan.sampled_slots[places],
                num_tokens=num_tokens,
                tokens=tokens[places],
                bans=next_ban(bans[places], tokens[places], self._mirror.close_id),
                flight=flight,
            )
        slots = plan.sampled_slots[is_behind]
        self._mirror.learn(slots, tokens[is_behind], bans[is_behind])

    def _has_nucleus(self, slots: Ints) -> bool:
        return bool((self.slots.top_p[slots] < 1).any())


def _collect(pieces: Items[Piece], count: int) -> SampledRows:
    """Wait for the tokens of a step and put them in their places."""
    sampled = SampledRows.empty(count)
    for piece in pieces:
        arrived, places, rows = piece.flight.fetch(), piece.places, piece.rows
        sampled.tokens[places] = arrived.tokens[rows]
        sampled.logprobs[places] = arrived.logprobs[rows]
        sampled.entropies[places] = arrived.entropies[rows]
    return sampled
