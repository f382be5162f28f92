"""Runs many requests through an engine in this process, as fast as it goes. No network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from workers.engine import EngineOutput, EngineRequest, Finished, LLMEngine


@dataclass(slots=True)
class Rollout:
    """Everything one request produced; `logprobs` are those of the answer."""

    request_id: str
    thinking_ids: list[int] = field(default_factory=list)
    answer_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: Finished | None = None

    def extend(self, output: EngineOutput) -> None:
        """Append what one step produced."""
        self.thinking_ids += output.thinking_ids
        self.answer_ids += output.answer_ids
        self.logprobs += output.logprobs
        self.finished = output.finished


def run_requests(
    engine: LLMEngine, requests: Iterable[EngineRequest], concurrency: int
) -> Iterator[Rollout]:
    """Yield each rollout when it is done, keeping `concurrency` requests running until the end."""
    pending = iter(requests)
    running: dict[str, Rollout] = {}
    while True:
        for request in islice(pending, concurrency - len(running)):
            engine.add_request(request)
            running[request.request_id] = Rollout(request.request_id)
        if not running:
            return
        for output in engine.step():
            running[output.request_id].extend(output)
            if output.finished is not None:
                yield running.pop(output.request_id)
