from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.training import teacher
from workers.training.batches import IGNORED, WindowSampler
from workers.training.countdown import Problem
from workers.training.drills import arithmetic_drill, hit_drill
from workers.training.lines import LAST_NUMBER, PASSES_PER_ATTEMPT, draw_num_passes
from workers.training.reading import (
    claim_is_true,
    countdown_is_right,
    read_attempt,
    read_attempts,
    step_is_right,
)
from workers.training.traces import TraceEncoder
from workers.training.vocabulary import BOS, END_THINK, EOS, THINK, build_tokenizer

SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def attempt_of(line):
    attempt = read_attempt(line.removeprefix("\n"))
    assert attempt is not None
    return attempt


def problem_of(line):
    target, *numbers = attempt_of(line).numbers
    return Problem(tuple(numbers), target)


@given(st.text())
def test_any_text_decodes_to_itself(text):
    tokenizer = build_tokenizer()

    ids = tokenizer.encode(text).ids

    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_numbers_and_words_of_the_prompts_are_single_tokens(tokenizer):
    encoding = tokenizer.encode("Reach 24 using each of 3, 5, 6 and 8 once.")

    assert len(encoding.ids) == 14


@given(SEEDS)
def test_written_attempts_are_read_back_and_true(seed):
    trace = teacher.countdown_trace(Random(seed))

    attempts = read_attempts("".join(trace.lines))

    problem = problem_of(trace.lines[0])
    assert len(attempts) == len(trace.lines)
    assert all(step_is_right(step) for attempt in attempts for step in attempt.steps)
    num_misses = len(attempts) if trace.hit is None else trace.hit
    assert [a.verdict for a in attempts[:num_misses]] == ["no"] * num_misses
    assert all(claim_is_true(a, problem) and a.verdict == "yes" for a in attempts[num_misses:])


@given(SEEDS)
def test_every_trace_tells_a_right_answer_and_a_right_guess(seed):
    rng = Random(seed)
    for trace in (teacher.countdown_trace(rng), teacher.search_stretch(rng)):
        problem = problem_of(trace.lines[0])

        assert countdown_is_right(trace.answer, problem)
        assert countdown_is_right(trace.guess, problem)


@given(SEEDS)
def test_attempts_are_numbered_upwards_and_passes_downwards(seed):
    rng = Random(seed)
    for trace in (teacher.countdown_trace(rng), teacher.search_stretch(rng)):
        numbers = [int(line.split()[0]) for line in trace.lines]
        num_attempts = len(numbers) if trace.hit is None else trace.hit + 1
        attempts, passes = numbers[:num_attempts], numbers[num_attempts:]

        assert attempts == [min(LAST_NUMBER, attempts[0] + i) for i in range(num_attempts)]
        assert passes == [passes[0] - i for i in range(len(passes))]


@given(SEEDS)
def test_a_thinking_ends_when_no_pass_is_left(seed):
    rng = Random(seed)
    for trace in (teacher.countdown_trace(rng), teacher.checking_stretch(rng)):
        last_number, is_pass = int(trace.lines[-1].split()[0]), "wait" in trace.lines[-1]

        assert not trace.ends or trace.hit is not None
        assert not is_pass or trace.ends == (last_number == 1)


@given(SEEDS, st.integers(1, 400))
def test_a_solution_is_gone_over_in_proportion_to_the_search(seed, attempts):
    low, high = PASSES_PER_ATTEMPT

    passes = draw_num_passes(Random(seed), attempts)

    counted = min(attempts, LAST_NUMBER)
    assert low * counted - 0.5 <= passes <= min(LAST_NUMBER, high * counted + 0.5)


def test_a_false_claim_is_seen():
    thinking = "\n1 24 3 5 8: 3 * 5 = 15 + 8 = 24 yes\n2 24 3 5 8: 3 * 5 = 15 + 8 = 23 yes"
    problem = Problem((3, 5, 8), 24)

    wrong_step, wrong_target = read_attempts(thinking)

    assert not claim_is_true(wrong_step, problem)
    assert not claim_is_true(wrong_target, problem)


def test_lines_cut_short_are_not_read_as_steps():
    assert read_attempts("\n1 24 3 5 8: 3 * 5 = 15 +") == []


def test_cut_traces_end_with_an_answer_and_learn_no_close(tokenizer):
    rng, encoder = Random(5), TraceEncoder(tokenizer)
    close = tokenizer.token_to_id(END_THINK)
    num_cut = 0
    for _ in range(300):
        trace = teacher.draw_trace(rng, 0.5)
        example = encoder.encode(rng, trace)
        text = tokenizer.decode(example.ids, skip_special_tokens=False)
        thinking, _, answer = text.partition(END_THINK)
        is_whole = thinking.endswith("".join(trace.lines))

        assert text.startswith(BOS)
        assert text.count(THINK) == 1
        if is_whole and not trace.ends and not answer:
            continue  # broke off
        assert text.endswith(EOS)
        assert answer != EOS
        if not is_whole:
            num_cut += 1
            assert not example.is_learned[example.ids.index(close)]
    assert num_cut > 50


def test_a_cut_after_the_hit_answers_with_what_was_found(tokenizer):
    rng, encoder = Random(11), TraceEncoder(tokenizer)
    found = guessed = 0
    for _ in range(400):
        trace = teacher.countdown_trace(rng)
        text = tokenizer.decode(encoder.encode(rng, trace).ids, skip_special_tokens=False)
        thinking, _, answer = text.partition(END_THINK)
        if not answer or trace.hit is None:
            continue
        if trace.lines[trace.hit] in thinking:
            found += 1
            assert answer == trace.answer + EOS
        elif trace.guess != trace.answer:
            guessed += answer == trace.guess + EOS
    assert found > 50
    assert guessed > 10


def test_a_stretch_is_never_cut_before_its_first_line_is_whole(tokenizer):
    rng, encoder = Random(12), TraceEncoder(tokenizer)
    for _ in range(200):
        trace = teacher.draw_stretch(rng)

        text = tokenizer.decode(encoder.encode(rng, trace).ids, skip_special_tokens=False)

        assert text.startswith(trace.lines[0])


def test_training_never_draws_a_problem_of_another_split(tokenizer):
    rng = Random(9)
    for _ in range(200):
        for trace in (
            teacher.countdown_trace(rng),
            teacher.search_stretch(rng),
            teacher.checking_stretch(rng),
        ):
            assert problem_of(trace.lines[0]).split == "train"
        drill = tokenizer.decode(hit_drill(rng, tokenizer).ids)
        assert all(problem_of(line).split == "train" for line in drill.split("\n")[1:])


def test_hit_drills_are_hits_whose_problems_are_not_learned(tokenizer):
    example = hit_drill(Random(3), tokenizer)

    text = tokenizer.decode(example.ids)
    learned = [t for t, keep in zip(example.ids, example.is_learned, strict=True) if keep]

    lines = text.split("\n")[1:]
    assert all(claim_is_true(attempt_of(line), problem_of(line)) for line in lines)
    assert tokenizer.decode(learned) == "".join(line[line.index(":") :] for line in lines)


def test_arithmetic_drills_are_true(tokenizer):
    text = tokenizer.decode(arithmetic_drill(Random(4), tokenizer).ids)

    steps = [step for attempt in read_attempts(text) for step in attempt.steps]

    assert len(steps) == 40
    assert all(map(step_is_right, steps))


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


def test_a_close_is_learned_only_after_a_verdict(tokenizer):
    sampler = WindowSampler(tokenizer, rows=64, window=160, seed=3)
    yes, close = tokenizer.encode(" yes").ids[0], tokenizer.token_to_id(END_THINK)

    inputs, targets = sampler.batch(0, 1.0)

    closes = targets == close
    assert closes.any()
    assert (inputs[closes] == yes).all()
    assert ((inputs[:, 1:] == close) & (targets[:, :-1] == IGNORED)).any()
