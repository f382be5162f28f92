"""A real gRPC server of the Reasoner contract, with replies that a test chooses."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner, Result

from ponder.cli import main
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import (
    FINISH_REASON_STOP,
    POOL_EASY,
    POOL_THINKING,
    THINKING_STOP_FINISHED,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Timings,
    Usage,
)


def decision(**changes) -> pb.Decision:
    fields = {
        "tier": TIER_MODERATE,
        "budget_tokens": 500,
        "pool": POOL_EASY,
        "need": pb.NeedQuantiles(p50_tokens=120, p90_tokens=480, p99_tokens=2000),
        "survival": [
            pb.TierSurvival(tier=TIER_SIMPLE, budget_tokens=50, survival=0.75),
            pb.TierSurvival(tier=TIER_MODERATE, budget_tokens=500, survival=0.08),
            pb.TierSurvival(tier=TIER_COMPLEX, budget_tokens=2000, survival=0.01),
            pb.TierSurvival(tier=TIER_RESEARCH, budget_tokens=10000, survival=0.0),
        ],
        "rule": pb.RULE_AUTOMATIC,
        "classifier_version": "v1",
        "model": "m",
        "propensity": 0.99,
    }
    return pb.Decision(**{**fields, **changes})


def reply(**changes) -> pb.ReasonReply:
    fields = {
        "request_id": "r1",
        "answer": "6 * (5 - 1)",
        "decision": decision(tier=TIER_COMPLEX, budget_tokens=2000, pool=POOL_THINKING),
        "thinking_stop": THINKING_STOP_FINISHED,
        "finish_reason": FINISH_REASON_STOP,
        "usage": Usage(thinking_tokens=777, answer_tokens=9, escalations=1),
        "timings": Timings(total_ms=1234.5, first_token_ms=12.3),
    }
    return pb.ReasonReply(**{**fields, **changes})


class Router(reasoner_pb2_grpc.ReasonerServicer):
    """Remembers what it was asked. Fails every call with `failure` when that is set. Plan replies
    with each of `decisions` in turn, and goes on with the last.
    """

    def __init__(self) -> None:
        self.requests: list[pb.ReasonRequest] = []
        self.metadata: dict[str, str] = {}
        self.deadline_s = 0.0
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.has_final = True
        self.target = ""
        self.feedback: list[pb.FeedbackRequest] = []
        self.decisions = [decision()]

    def Reason(self, request, context):
        self._note(request, context)
        return reply()

    def ReasonStream(self, request, context):
        self._note(request, context)
        yield pb.ReasonEvent(decision=decision())
        yield pb.ReasonEvent(progress=pb.Progress(thinking_tokens=500))
        yield pb.ReasonEvent(decision=reply().decision)
        yield pb.ReasonEvent(answer_delta="6 * ")
        yield pb.ReasonEvent(answer_delta="(5 - 1)")
        if self.has_final:
            thinking = " 6 5 1 yes" if request.include_thinking else None
            yield pb.ReasonEvent(final=reply(thinking=thinking))

    def Plan(self, request, context):
        self._note(request.request, context)
        planned = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        return pb.PlanReply(decision=planned)

    def Feedback(self, request, context):
        self.feedback.append(request)
        return pb.FeedbackReply()

    def _note(self, request, context) -> None:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.deadline_s = context.time_remaining()
        if self.failure:
            context.abort(*self.failure)


@pytest.fixture
def router() -> Iterator[Router]:
    servicer = Router()
    server = grpc.server(ThreadPoolExecutor(2))
    reasoner_pb2_grpc.add_ReasonerServicer_to_server(servicer, server)
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None).wait()


Ponder = Callable[..., Result]


@pytest.fixture
def ponder(router: Router, monkeypatch) -> Ponder:
    """Runs `ponder` with the arguments against the router of this test."""
    monkeypatch.setenv("PONDER_TARGET", router.target)
    monkeypatch.delenv("PONDER_API_KEY", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(main, arguments, **options)
