"""An early exit through the whole stack: every book says the same."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import workers
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import THINKING_STOP_CONFIDENT, TIER_COMPLEX, Sampling, Usage
from tests.cli.test_up import RunningUp, up

pytestmark = pytest.mark.e2e

REFERENCE = Path(workers.__file__).parent / "reference"
COUNTS = ("thinking_tokens", "forced_tokens", "probe_tokens", "answer_tokens", "prompt_tokens")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    with up(REFERENCE, tmp_path_factory.mktemp("data")) as running:
        yield running


def question(request_id: str) -> pb.ReasonRequest:
    return pb.ReasonRequest(
        request_id=request_id,
        prompt="Use 3, 5, 7 and 2 to make 24.",
        tier=TIER_COMPLEX,
        sampling=Sampling(temperature=0.4, seed=3),
    )


def counts(usage: Usage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in COUNTS}


async def test_unary_stream_and_ledger_count_the_same(stack):
    with grpc.insecure_channel(stack.router) as channel:
        stub = reasoner_pb2_grpc.ReasonerStub(channel)
        unary = stub.Reason(question("unary"), timeout=60)
        events = list(stub.ReasonStream(question("stream"), timeout=60))
    final = events[-1].final
    ledger = Ledger.from_url(stack.redis_url, LedgerConfig(timeout_s=20))
    traces = {t.request_id: t async for _, t in ledger.read_traces(unary.decision.model)}
    await ledger.close()

    assert unary.thinking_stop == final.thinking_stop == THINKING_STOP_CONFIDENT
    assert "".join(event.answer_delta for event in events) == final.answer == unary.answer
    assert counts(unary.usage) == counts(final.usage)
    assert counts(traces["unary"].usage) == counts(traces["stream"].usage) == counts(unary.usage)
    assert unary.usage.probe_tokens > 0
