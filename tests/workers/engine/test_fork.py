"""Forks on a real model: a branch says what the request would say, and disturbs nobody."""

import pytest
import torch

from tests.workers.engine.conftest import CLOSE, EOS, OPEN
from workers.engine import ForkRefused, InvalidRequest, ThinkingStop
from workers.engine.branch import BranchEnd

SAMPLED = {"temperature": 0.8, "top_p": 0.9}
MODES = pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
LONG = {"qwen3": 5, "qwen3-sliding": 5, "qwen2-half-sliding": 0}  # requests that think for long
VARIANTS = pytest.mark.parametrize("variant", LONG)


def steps(engine, count):
    return [output for _ in range(count) for output in step(engine)]


def step(engine):
    outputs = engine.step()
    engine.scheduler.check()
    return outputs


def drain(engine, outputs):
    """Run to the end: thinking, answer, logprobs of all outputs, these included."""
    while engine.has_work:
        outputs += step(engine)
    assert engine.pool.num_free == engine.pool.capacity
    return (
        [token for output in outputs for token in output.thinking_ids],
        [token for output in outputs for token in output.answer_ids],
        [logprob for output in outputs for logprob in output.logprobs],
    )


@MODES
@VARIANTS
@pytest.mark.parametrize("at", [2, 9, 10, 16])
@pytest.mark.parametrize("before_newest", [False, True], ids=["", "before"])
def test_a_promoted_branch_answers_as_a_request_that_was_cut_there(
    make_engine, make_request, run, variant, at, sampling, before_newest
):
    engine = make_engine(variant)
    index = LONG[variant]
    engine.add_request(make_request(index, thinking_budget=60, **sampling))
    outputs = steps(engine, at)
    branch = engine.fork(f"r{index}", (5, 6, CLOSE), 20, before_newest=before_newest)
    outputs += steps(engine, 4)

    engine.promote(branch, ThinkingStop.CONFIDENT)
    thinking, answer, logprobs = drain(engine, outputs)

    cut = make_request(index, thinking_budget=at - before_newest, **sampling)
    expected = run(make_engine(variant), cut)[f"r{index}"]
    assert (thinking, answer) == expected[:2]
    assert logprobs == pytest.approx(expected[2], abs=1e-4)


@MODES
@VARIANTS
def test_branches_change_no_token_of_anybody(make_engine, make_request, run, variant, sampling):
    requests = [make_request(index, thinking_budget=30, **sampling) for index in range(6)]
    expected = run(make_engine(variant), *requests)
    engine = make_engine(variant)
    for request in requests:
        engine.add_request(request)

    outputs, branches = [], []
    while engine.has_work:
        outputs += step(engine)
        for sequence in list(engine.scheduler.running):
            try:
                branches.append(engine.fork(sequence.request.request_id, (CLOSE,), 4))
            except ForkRefused:
                continue
        for branch in engine.scheduler.branches:
            if branch.is_resting:
                engine.drop(branch)
                break

    for name, (thinking, answer, *_) in expected.items():
        mine = [output for output in outputs if output.request_id == name]
        assert [token for output in mine for token in output.thinking_ids] == thinking
        assert [token for output in mine for token in output.answer_ids] == answer
    assert sum(branch is not None for branch in branches) > 8


def test_a_branch_reads_its_suffix_as_the_model_does(models, make_engine, make_request):
    engine = make_engine("qwen3")
    engine.add_request(make_request(5, thinking_budget=60))
    steps(engine, 7)
    text = list(engine.scheduler.running[0].ids)
    branch = engine.fork("r5", (20, CLOSE, 21), 5)
    steps(engine, 5)

    text += [20, CLOSE, 21, *branch.answer_ids]
    with torch.no_grad():
        logits = models("qwen3")[1](torch.tensor([text])).logits[0].clone()
    logits[:, [OPEN, CLOSE]] = float("-inf")
    first = len(text) - len(branch.answer_ids)
    logits[first - 1, EOS] = float("-inf")
    assert logits.argmax(-1)[first - 1 : -1].tolist() == branch.answer_ids
    assert len(branch.logprobs) == len(branch.answer_ids)


def test_a_branch_knows_the_entropy_that_the_model_had(models, make_engine, make_request):
    engine = make_engine("qwen3")
    engine.add_request(make_request(5, thinking_budget=60, temperature=0.8))
    steps(engine, 7)
    text = [*engine.scheduler.running[0].ids, CLOSE]
    branch = engine.fork("r5", (CLOSE,), 4)
    steps(engine, 4)

    with torch.no_grad():
        logits = models("qwen3")[1](torch.tensor([text + branch.answer_ids])).logits[0].clone()
    logits[:, [OPEN, CLOSE]] = float("-inf")
    logits[len(text) - 1, EOS] = float("-inf")
    own = torch.distributions.Categorical(logits=logits[len(text) - 1 : -1])
    logprobs = own.log_prob(torch.tensor(branch.answer_ids)).tolist()
    assert branch.sampled_entropies == pytest.approx(own.entropy().tolist(), abs=1e-4)
    assert branch.sampled_logprobs == pytest.approx(logprobs, abs=1e-4)


def test_what_branches_cost_is_the_requests_and_counted_apart(make_engine, make_request, run):
    plain = run(make_engine("qwen3"), make_request(5, thinking_budget=20))["r5"][3].usage
    engine = make_engine("qwen3")
    engine.add_request(make_request(5, thinking_budget=20))
    steps(engine, 5)
    branch = engine.fork("r5", (CLOSE, 30), 3)
    outputs = steps(engine, 5)
    engine.drop(branch)
    while engine.has_work:
        outputs += step(engine)

    usage = outputs[-1].finished.usage
    assert usage.probe_tokens == 2 + 3
    assert usage.thinking_tokens == plain.thinking_tokens
    assert usage.forced_tokens == plain.forced_tokens
    assert usage.answer_tokens == plain.answer_tokens
    assert engine.load().finished == 1


def test_a_fork_needs_a_request_and_ids_of_the_vocabulary(make_engine, make_request):
    engine = make_engine()
    with pytest.raises(InvalidRequest, match="request_id"):
        engine.fork("nobody", (CLOSE,), 1)
    engine.add_request(make_request(0))
    with pytest.raises(ForkRefused, match="waits for a slot"):
        engine.fork("r0", (CLOSE,), 1)
    steps(engine, 2)
    with pytest.raises(InvalidRequest, match="suffix_ids"):
        engine.fork("r0", (97,), 1)


def test_branches_are_dropped_under_page_pressure_and_nothing_else_changes(
    make_engine, make_request, run
):
    requests = [make_request(index, thinking_budget=30) for index in range(4)]
    expected = run(make_engine("qwen3"), *requests)
    engine = make_engine("qwen3", num_pages=60, watermark=0.0)
    for request in requests:
        engine.add_request(request)
    steps(engine, 3)
    branches = [engine.fork(f"r{index}", (), 100) for index in range(2)]
    outputs = []
    while engine.has_work:
        outputs += step(engine)

    assert any(branch is not None and branch.end is BranchEnd.DROPPED for branch in branches)
    assert engine.scheduler.num_preemptions == 0
    finished = {o.request_id: o.finished for o in outputs if o.finished is not None}
    for name, (thinking, *_) in expected.items():
        assert finished[name].usage.thinking_tokens == len(thinking)
