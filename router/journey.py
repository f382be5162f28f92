"""One request on its way over workers: what it thought, what it spent, who settles it.

State and messages only; dispatcher.py moves it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from classifier.features import encode
from ponder.settlement import total_usage
from ponder.v1 import budget_pb2, worker_pb2
from ponder.v1.budget_pb2 import Pool, Timings, Usage
from router.answer_text import AnswerText
from router.decisions import Answered, Decision, Event, Reply, Thought
from router.errors import DeadlineTooShort, WorkerMisbehaved
from router.policy import Choice
from router.queries import Query
from router.tiers import pool_name
from router.worker_loss import WorkerLost

_EXHAUSTED = (budget_pb2.THINKING_STOP_EXHAUSTED, budget_pb2.FINISH_REASON_UNSPECIFIED)
_COMPLETE = (
    budget_pb2.FINISH_REASON_STOP,
    budget_pb2.FINISH_REASON_LENGTH,
    budget_pb2.FINISH_REASON_DEADLINE,
)


class Journey:
    """`owes_settlement`: something was spent and no worker answers for it, so the router does."""

    def __init__(
        self,
        query: Query,
        decision: Decision,
        *,
        store_prompts: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.query = query
        self.decision = decision
        self.thinking_ids: list[int] = []
        self.must_answer = False
        self._store_prompts = store_prompts
        self._clock = clock
        self._thinking_text: list[str] = []
        self._answer = AnswerText()
        self._num_segments = 0
        self._request = worker_pb2.ThinkRequest()
        self._is_exhausted = False
        self._spent = Usage()
        self._unsettled = False
        self._with_worker = False
        self._ended: worker_pb2.ThinkDone | None = None
        self._done: worker_pb2.ThinkDone | None = None
        self._timings = Timings()

    @property
    def is_answered(self) -> bool:
        return self._done is not None and self._done.finish_reason in _COMPLETE

    @property
    def is_exhausted(self) -> bool:
        """The thinking may not go on within the budget, and nobody was told to answer."""
        return not self.must_answer and (
            self._is_exhausted or self.thinking_tokens >= self.decision.choice.budget_tokens > 0
        )

    @property
    def thinking_tokens(self) -> int:
        return len(self.thinking_ids)

    @property
    def owes_settlement(self) -> bool:
        return self._unsettled and not self._with_worker

    def move_to(self, pool: Pool.ValueType) -> None:
        """Notes which pool runs it."""
        self.decision = replace(self.decision, choice=replace(self.decision.choice, pool=pool))

    def miss(self, pool: Pool.ValueType) -> None:
        """Notes that its own pool has nobody: a degraded decision."""
        missing = f"no live worker in the {pool_name(pool)} pool"
        if missing not in self.decision.degraded:
            self.decision = replace(self.decision, degraded=(*self.decision.degraded, missing))

    def escalate(self, choice: Choice) -> None:
        """Goes on with a larger budget."""
        self.decision = replace(self.decision, choice=choice)
        self._is_exhausted = False
        self._spent.escalations += 1

    def next_request(
        self, *, answer_on_exhaustion: bool, most_tokens: int
    ) -> worker_pb2.ThinkRequest:
        """Begins a segment: thinks on from everything received so far, up to `most_tokens` in all.

        Where that is less than the budget, it ends there for another worker to go on.
        """
        is_whole = self.decision.choice.budget_tokens <= most_tokens
        request = self._think_request(answer_on_exhaustion and is_whole)
        request.thinking_budget = min(request.thinking_budget, most_tokens)
        if not self._num_segments:
            self._timings.router_ms = self._elapsed_ms()
        self._num_segments += 1
        self._request = request
        self._answer.restart()
        self._ended = None
        return request

    def accepted(self) -> None:
        """The worker answers for the settlement from here on."""
        self._with_worker = True

    def receive(self, event: worker_pb2.ThinkEvent) -> Event | None:
        """What of it the caller should see. Raises WorkerMisbehaved."""
        match event.WhichOneof("event"):
            case "thinking":
                return self._receive_thinking(event.thinking)
            case "answer":
                self._note_first_token()
                delta = self._answer.append(event.answer.text)
                return Answered(delta) if delta else None
            case "done":
                self._ended = event.done
        return None

    def end_segment(self) -> None:
        """The stream ended without an error. Raises WorkerLost when it ended without a result."""
        done = self._ended
        if done is None or not (done.finish_reason in _COMPLETE or self._may_end_so(done)):
            raise WorkerLost("the worker gave the request up")
        is_whole = self.decision.choice.budget_tokens <= self._request.thinking_budget
        self._is_exhausted = is_whole and done.finish_reason not in _COMPLETE
        self._with_worker = False
        self._unsettled = not done.settled
        self._spent = Usage()
        self._spent.CopyFrom(done.usage)
        self._timings.queue_ms += done.queue_ms
        self._done = done

    def lose_segment(self) -> None:
        """The worker settled nothing; what it had sent counts, and is the router's to settle."""
        self._with_worker = False
        self._unsettled = self._unsettled or bool(self.thinking_ids)

    def give_back(self) -> None:
        """The worker refused the segment."""
        self._with_worker = False

    def settled(self, usage: Usage) -> None:
        """The router settled it, with the usage that counts."""
        self._unsettled = False
        self._spent.CopyFrom(usage)

    def reply(self) -> Reply:
        """Raises DeadlineTooShort or WorkerMisbehaved when there is no answer in it."""
        assert self._done is not None, "asked for a reply before the end"
        if not self._answer.text and (
            self._done.finish_reason == budget_pb2.FINISH_REASON_DEADLINE
        ):
            raise DeadlineTooShort("the deadline passed before the answer began; allow more time")
        if not self._answer.text:
            raise WorkerMisbehaved("the worker sent no answer; try again")
        self._timings.total_ms = self._elapsed_ms()
        return Reply(
            request_id=self.query.request_id,
            answer=self._answer.text,
            decision=self.decision,
            stop=self._done.stop,
            finish_reason=self._done.finish_reason,
            usage=self._spent,
            timings=self._timings,
            thinking="".join(self._thinking_text) if self.query.include_thinking else None,
        )

    def as_it_ended(self) -> tuple[worker_pb2.ThinkRequest, worker_pb2.ThinkDone]:
        """The final segment as the ledger should see it when the router settles."""
        if self._done is not None and self.is_answered:
            return self._request, self._done
        request = self._think_request(answer_on_exhaustion=True)
        return request, worker_pb2.ThinkDone(
            stop=budget_pb2.THINKING_STOP_CANCELLED,
            finish_reason=budget_pb2.FINISH_REASON_CANCELLED,
            usage=total_usage(request, Usage()),
            queue_ms=self._timings.queue_ms,
            first_token_ms=self._timings.first_token_ms,
        )

    def _receive_thinking(self, chunk: worker_pb2.ThinkingChunk) -> Thought:
        self._note_first_token()
        self.thinking_ids.extend(chunk.ids)
        self._thinking_text.append(chunk.text)
        if self.thinking_tokens > self.decision.choice.budget_tokens:
            raise WorkerMisbehaved("the worker thought beyond the budget; try again")
        return Thought(self.thinking_tokens, self._num_segments - 1)

    def _think_request(self, answer_on_exhaustion: bool) -> worker_pb2.ThinkRequest:
        query = self.query
        return worker_pb2.ThinkRequest(
            request_id=query.request_id,
            segment=self._num_segments,
            model=query.model,
            prompt=query.prompt,
            messages=query.messages,
            thinking_prefix_ids=self.thinking_ids,
            thinking_budget=self.decision.choice.budget_tokens,
            max_answer_tokens=query.max_answer_tokens,
            sampling=query.sampling,
            answer_on_exhaustion=answer_on_exhaustion,
            include_thinking=query.include_thinking,
            settlement=self._settlement(),
        )

    def _settlement(self) -> worker_pb2.Settlement:
        prediction, choice = self.decision.prediction, self.decision.choice
        return worker_pb2.Settlement(
            tenant=self.query.tenant.name,
            tier=choice.tier,
            pool=choice.pool,
            rule=choice.rule,
            predicted_bin=prediction.predicted_bin if prediction else 0,
            prior_hazards=prediction.prior.hazards.tolist() if prediction else (),
            propensity=choice.propensity,
            tier_propensities=choice.tier_propensities,
            predicted_miss=choice.predicted_miss,
            classifier_version=prediction.prior.version if prediction else "",
            features=self._features(),
            store_prompt=self._store_prompts,
            prior_usage=self._spent,
        )

    def _features(self) -> Iterable[int]:
        """Kept without a prediction too: a classifier is trained on such traces first of all."""
        if prediction := self.decision.prediction:
            return prediction.prior.features
        return map(int, encode(self.query.text))

    def _may_end_so(self, done: worker_pb2.ThinkDone) -> bool:
        exhausted = (done.stop, done.finish_reason) == _EXHAUSTED
        return exhausted and not self._request.answer_on_exhaustion

    def _note_first_token(self) -> None:
        if not self._timings.first_token_ms:
            self._timings.first_token_ms = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return (self._clock() - self.query.received_at_s) * 1e3
