from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training import traces
from workers.training.batches import IGNORED, WindowSampler
from workers.training.countdown import Problem
from workers.training.reading import claim_is_true, read_attempts, step_is_right
from workers.training.vocabulary import BOS, END_THINK, EOS, THINK, build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@given(st.text())
def test_any_text_decodes_to_itself(text):
    tokenizer = build_tokenizer()

    ids = tokenizer.encode(text).ids

    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_numbers_and_words_of_the_prompts_are_single_tokens(tokenizer):
    encoding = tokenizer.encode("Reach 24 using each of 3, 5, 6 and 8 once.")

    assert len(encoding.ids) == 14


@given(st.integers(0, 2**32))
def test_written_attempts_are_read_back_and_true(seed):
    trace = traces.countdown_trace(Random(seed))

    attempts = read_attempts("".join(trace.misses) + trace.hit)

    target, *numbers = attempts[-1].numbers
    problem = Problem(tuple(numbers), target)
    assert len(attempts) == len(trace.misses) + 1
    assert all(step_is_right(step) for attempt in attempts for step in attempt.steps)
    assert [a.verdict for a in attempts] == ["no"] * len(trace.misses) + ["yes"]
    assert claim_is_true(attempts[-1], problem)


def test_a_false_claim_is_seen():
    thinking = "\n 24 3 5 8: 3 * 5 = 15 + 8 = 24 yes\n 24 3 5 8: 3 * 5 = 15 + 8 = 23 yes"
    problem = Problem((3, 5, 8), 24)

    wrong_step, wrong_target = read_attempts(thinking)

    assert not claim_is_true(wrong_step, problem)
    assert not claim_is_true(wrong_target, problem)


def test_lines_cut_short_are_not_read_as_steps():
    assert read_attempts("\n 24 3 5 8: 3 * 5 = 15 +") == []


def test_cut_traces_still_end_with_an_answer(tokenizer):
    rng = Random(5)
    for _ in range(200):
        ids = traces.encode_trace(rng, tokenizer, traces.random_trace(rng, 0.5))
        text = tokenizer.decode(ids, skip_special_tokens=False)

        assert text.startswith(BOS)
        assert text.endswith(EOS)
        assert text.count(THINK) == text.count(END_THINK) == 1
        assert not text.endswith(END_THINK + EOS)


def test_training_never_draws_a_problem_of_another_split():
    rng = Random(9)
    for _ in range(300):
        trace = traces.countdown_trace(rng)
        target, *numbers = read_attempts(trace.hit)[0].numbers

        assert Problem(tuple(numbers), target).split == "train"


def test_a_batch_depends_on_seed_and_step_alone(tokenizer):
    first, second = (WindowSampler(tokenizer, rows=4, window=64, seed=1) for _ in range(2))

    second.batch(7, 0.5)
    inputs, targets = first.batch(8, 0.5)
    again, _ = second.batch(8, 0.5)

    assert torch.equal(inputs, again)
    assert inputs.shape == targets.shape == (4, 64)
    assert not torch.equal(inputs, first.batch(9, 0.5)[0])


def test_targets_are_the_next_tokens_and_leave_out_prompts(tokenizer):
    sampler = WindowSampler(tokenizer, rows=16, window=96, seed=2)
    bos, think = tokenizer.token_to_id(BOS), tokenizer.token_to_id(THINK)

    inputs, targets = sampler.batch(0, 1.0)

    shifted = inputs[:, 1:]
    counted = targets[:, :-1] != IGNORED
    assert torch.equal(targets[:, :-1][counted], shifted[counted])
    assert not ((targets == bos) | (targets == think)).any()


def test_the_second_stage_learns_to_close_only_after_a_hit(tokenizer):
    sampler = WindowSampler(tokenizer, rows=32, window=160, seed=3)
    yes, close = tokenizer.encode(" yes").ids[0], tokenizer.token_to_id(END_THINK)

    inputs, first = sampler.batch(0, 1.0)
    _, second = sampler.batch(0, 1.0, learn_cuts=False)

    dropped = first != second
    assert (first[dropped] == close).all()
    assert (inputs[dropped] != yes).all()
    assert dropped.any()
    assert (second[inputs == yes] == close).any()
