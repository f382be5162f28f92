"""Nothing that a caller sends ends a server, leaks a page or is answered with INTERNAL or UNKNOWN.

A short run in CI. The long one, ten minutes and more:
pytest tests/fuzz --hypothesis-profile=long -s
"""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.bins import NUM_NEED_BINS
from ponder.v1 import reasoner_pb2, worker_pb2
from ponder.v1.budget_pb2 import POOL_THINKING, TIER_SIMPLE, Sampling
from tests.fuzz.conftest import MODEL, ask
from tests.fuzz.messages import altered, broken_bytes

pytestmark = pytest.mark.e2e

THINK = worker_pb2.ThinkRequest(
    request_id="fuzz",
    model=MODEL,
    prompt="Reach 24 from 3, 5, 6 and 8.",
    thinking_budget=20,
    max_answer_tokens=8,
    sampling=Sampling(seed=1),
    answer_on_exhaustion=True,
    settlement=worker_pb2.Settlement(
        tenant="fuzz",
        tier=TIER_SIMPLE,
        pool=POOL_THINKING,
        rule=reasoner_pb2.RULE_AUTOMATIC,
        prior_hazards=[0.125] * NUM_NEED_BINS,
        propensity=0.5,
    ),
)
FEEDBACK = reasoner_pb2.FeedbackRequest(request_id="fuzz", correct=True, score=0.5)
PLAN = reasoner_pb2.PlanRequest(request=ask())
ROUTER_METHODS = {"Reason": ask(), "ReasonStream": ask(), "Plan": PLAN, "Feedback": FEEDBACK}
WORKER_METHODS = {"Think": THINK, "Watch": worker_pb2.WatchRequest()}

timeouts = st.sampled_from([0.001, 0.02, 0.1, 0.5])
takes = st.sampled_from([None, None, 0, 1, 3])


@pytest.fixture(scope="module", autouse=True)
def still_whole(stack):
    """Looked at once, after everything; what happened is shown with -s."""
    yield
    stack.check_whole()
    for target in (stack.router, stack.worker):
        print(f"\n{target.service}: {target.statuses.total()} calls, {dict(target.statuses)}")


@pytest.mark.parametrize("method", ["Reason", "ReasonStream", "Plan", "Feedback"])
def test_the_public_api_takes_any_message(stack, method):
    @given(request=altered(ROUTER_METHODS[method]), timeout_s=timeouts, take=takes)
    def send(request, timeout_s, take):
        stack.router.call(method, request, timeout_s, take)

    send()


def test_the_planned_request_may_be_anything_too(stack):
    @given(request=altered(ask()), timeout_s=timeouts)
    def send(request, timeout_s):
        stack.router.call("Plan", reasoner_pb2.PlanRequest(request=request), timeout_s)

    send()


@pytest.mark.parametrize("method", ["Think", "Watch"])
def test_the_worker_takes_any_message(stack, method):
    @given(request=altered(WORKER_METHODS[method]), timeout_s=timeouts, take=takes)
    def send(request, timeout_s, take):
        stack.worker.call(method, request, timeout_s, take)

    send()


@pytest.mark.parametrize("method", list(ROUTER_METHODS))
def test_the_public_api_takes_any_bytes(stack, method):
    @given(raw=broken_bytes(ROUTER_METHODS[method]), timeout_s=timeouts)
    def send(raw, timeout_s):
        stack.router.call(method, raw, timeout_s)

    send()


@pytest.mark.parametrize("method", list(WORKER_METHODS))
def test_the_worker_takes_any_bytes(stack, method):
    @given(raw=broken_bytes(WORKER_METHODS[method]), timeout_s=timeouts)
    def send(raw, timeout_s):
        stack.worker.call(method, raw, timeout_s)

    send()


@given(method=st.text("ReasonThinkWatch/.", max_size=12), raw=st.binary(max_size=50))
def test_methods_that_are_none_of_ours(stack, method, raw):
    stack.router.call(method, raw, 0.5)
    stack.worker.call(method, raw, 0.5)


@pytest.mark.parametrize(("server", "method"), [("router", "ReasonStream"), ("worker", "Think")])
def test_a_caller_that_never_says_it_is_done(stack, server, method):
    """It sends its request, once or twice, and keeps its side open until the deadline."""
    base = ask() if server == "router" else THINK

    @settings(max_examples=min(30, settings().max_examples))
    @given(copies=st.integers(1, 2), timeout_s=st.sampled_from([0.05, 0.2]))
    def send(copies, timeout_s):
        getattr(stack, server).stream(method, held_open(base, copies, timeout_s), timeout_s)

    send()


def held_open(request, copies: int, seconds: float) -> Iterator[bytes]:
    for _ in range(copies):
        yield request.SerializeToString()
    time.sleep(seconds)
