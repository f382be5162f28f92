"""The benchmark of workers with an upstream: its problems and its books."""

import pytest

from ponder.v1 import budget_pb2, worker_pb2
from workers.bench.upstream import Outcome, Problem, is_right, load_problems, report_of
from workers.bench.upstream_counters import counter_of

CUT, FINISHED = budget_pb2.THINKING_STOP_EXHAUSTED, budget_pb2.THINKING_STOP_FINISHED
STOP = budget_pb2.FINISH_REASON_STOP


def outcome(budget: int, thought: int, stop: budget_pb2.ThinkingStop.ValueType) -> Outcome:
    usage = budget_pb2.Usage(thinking_tokens=thought, answer_tokens=3)
    done = worker_pb2.ThinkDone(stop=stop, finish_reason=STOP, usage=usage)
    return Outcome(budget=budget, is_right=thought > 10, num_sent=thought, done=done)


def test_there_are_enough_problems_and_all_differ():
    problems = load_problems()

    assert len(problems) >= 20
    assert len({problem.question for problem in problems}) == len(problems)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("25 rolls", True), ("$1,200.", False), ("is 25.0", True), ("", False), ("-25", False)],
)
def test_the_first_number_of_an_answer_counts(answer, expected):
    assert is_right(answer, Problem("How many?", 25)) is expected


def test_a_report_has_accuracy_and_books_per_budget():
    outcomes = [outcome(0, 0, CUT), outcome(64, 64, CUT), outcome(64, 20, FINISHED)]

    figures = report_of(outcomes, counted=97.0).figures

    assert (figures["accuracy_0"], figures["accuracy_64"]) == (0.0, 1.0)
    assert (figures["thinking_tokens_64"], figures["cut_64"]) == (42.0, 1)
    assert figures["inexact_budgets"] == figures["streamed_difference"] == 0
    # 84 of thinking, 9 of answers, and the ends of three answers and one thinking.
    assert (figures["sampled_tokens"], figures["usage_difference"]) == (97, 0)


@pytest.mark.parametrize(("thought", "stop"), [(65, CUT), (63, CUT), (65, FINISHED)])
def test_a_budget_that_was_not_held_is_told(thought, stop):
    assert report_of([outcome(64, thought, stop)], None).figures["inexact_budgets"] == 1


@pytest.mark.parametrize(("counted", "difference"), [(22, -2), (24, 0), (30, 0), (33, 3)])
def test_what_trials_sampled_is_in_the_counter_and_in_the_usage(counted, difference):
    sure = outcome(64, 20, budget_pb2.THINKING_STOP_CONFIDENT)
    sure.done.usage.probe_tokens = 6

    figures = report_of([sure], counted=float(counted)).figures

    assert (figures["early_64"], figures["probe_tokens_64"]) == (1, 6.0)
    assert figures["usage_difference"] == difference  # 20 of thinking, 3 of answer and its end


def test_a_counter_is_summed_over_its_labels():
    text = (
        "# TYPE vllm:generation_tokens_total counter\n"
        'vllm:generation_tokens_total{engine="0"} 3.0\n'
        'vllm:generation_tokens_total{engine="1"} 4.0\n'
        "vllm:prompt_tokens_total 9.0\n"
    )

    assert counter_of(text) == 7.0
    assert counter_of("other 1") is None
