"""What a request has produced, on its way to its reader: thinking in chunks, answers at once."""

import asyncio

from workers.engine import EngineOutput, Finished
from workers.upstream.dialects import Piece


class Outbox:
    """Written by the run of a request, read by whoever submitted it."""

    def __init__(self, request_id: str, chunk_tokens: int) -> None:
        self._request_id = request_id
        self._chunk_tokens = chunk_tokens
        self._ids: list[int] = []
        self._text = ""
        self._held: list[Piece] | None = None
        self._outputs: asyncio.Queue[EngineOutput | Exception] = asyncio.Queue()

    def think(self, piece: Piece) -> None:
        """Thinking, sent when a chunk of it is full and none is held back."""
        if self._held is not None:
            self._held.append(piece)
            return
        self._ids += piece.ids
        self._text += piece.text
        if len(self._ids) >= self._chunk_tokens:
            self.flush()

    def hold(self) -> None:
        """Send no thinking from here on: it may be discarded."""
        self._held = []

    def release(self) -> None:
        """Send what was held back."""
        held, self._held = self._held or [], None
        for piece in held:
            self.think(piece)

    def discard(self) -> int:
        """Forget what was held back; returns how many tokens."""
        held, self._held = self._held or [], None
        return sum(len(piece.ids) for piece in held)

    def answer(self, piece: Piece) -> None:
        """A part of the answer."""
        self.flush()
        self._put(answer_ids=piece.ids, answer_text=piece.text)

    def flush(self) -> None:
        """Send the thinking that waits."""
        self.release()
        if self._ids:
            self._put(thinking_ids=tuple(self._ids), thinking_text=self._text)
            self._ids, self._text = [], ""

    def finish(self, finished: Finished) -> None:
        """The last output."""
        self.flush()
        self._put(finished=finished)

    def fail(self, error: Exception) -> None:
        """The reader gets the error after what came before."""
        self.flush()
        self._outputs.put_nowait(error)

    async def get(self) -> EngineOutput:
        """The next output; raises what `fail` was told."""
        output = await self._outputs.get()
        if isinstance(output, Exception):
            raise output
        return output

    def _put(
        self,
        *,
        thinking_ids: tuple[int, ...] = (),
        thinking_text: str = "",
        answer_ids: tuple[int, ...] = (),
        answer_text: str = "",
        finished: Finished | None = None,
    ) -> None:
        output = EngineOutput(
            request_id=self._request_id,
            thinking_ids=thinking_ids,
            answer_ids=answer_ids,
            logprobs=(),
            finished=finished,
            thinking_text=thinking_text,
            answer_text=answer_text,
        )
        self._outputs.put_nowait(output)
