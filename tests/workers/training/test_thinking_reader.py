import pytest
from transformers import PreTrainedTokenizerFast

from workers.training.countdown import Problem
from workers.training.lines import attempt_line, pass_line
from workers.training.shares import Share
from workers.training.systems import System, system_bodies
from workers.training.thinking_reader import ThinkingReader
from workers.training.vocabulary import build_tokenizer

PROBLEM = Problem((3, 5, 6, 8), 24)
MISS = "\n4 24 3 5 6 8: 3 * 5 = 15 - 6 = 9 + 8 = 17 no"
HIT = "\n5 24 3 5 6 8: 6 - 5 = 1 * 3 = 3 * 8 = 24 yes"
CHECK = HIT.replace("\n5", "\n5 wait")
LINE_TOKENS = 22
# newline, its number, target, four numbers, colon, first number, three steps, verdict


@pytest.fixture(scope="module")
def tokenizer():
    return PreTrainedTokenizerFast(tokenizer_object=build_tokenizer())


@pytest.fixture(scope="module")
def read(tokenizer):
    reader = ThinkingReader(tokenizer)

    def read_text(text, problem=PROBLEM, is_finished=True):
        ids = tokenizer.encode(text, add_special_tokens=False)
        return reader.read(ids, problem, is_finished=is_finished)

    return read_text


def test_the_first_true_hit_ends_the_useful_part(read):
    record = read(MISS + HIT + CHECK + CHECK)

    assert record.useful_tokens == 2 * LINE_TOKENS
    assert record.tokens == 4 * LINE_TOKENS + 2  # each check starts with a "wait"


def test_a_thinking_that_ends_with_its_hit_is_all_useful(read):
    assert read(MISS + HIT).useful_tokens == 2 * LINE_TOKENS == read(MISS + HIT).tokens


def test_a_thinking_without_a_true_hit_has_no_useful_part(read):
    assert read(MISS + MISS.replace(" no", " yes")).useful_tokens is None


def test_a_hit_is_useful_even_if_the_model_does_not_see_it(read):
    assert read(HIT.replace("yes", "no") + MISS).useful_tokens == LINE_TOKENS


def test_a_false_claim_counts_against_the_claims(read):
    assert read(MISS.replace("no", "yes") + HIT).claims == Share(1, 2)


def test_checking_a_hit_is_not_another_claim(read):
    assert read(MISS + HIT + CHECK).claims == Share(1, 1)


def test_lines_that_cannot_be_read_are_counted(read):
    assert read(MISS + "\n4 24 3 5 6 8: 3 * 5 = no" + HIT).lines == Share(2, 3)


def test_a_line_that_the_budget_cut_is_not_judged_as_a_line(read):
    cut = MISS + "\n4 24 3 5 6 8: 3 *"

    assert read(cut, is_finished=False).lines == Share(1, 1)
    assert read(cut, is_finished=True).lines == Share(1, 2)


def test_steps_are_counted_by_the_position_of_their_line(read):
    wrong = MISS.replace("= 15", "= 16")
    lines_before_500, lines_before_2000 = 23, 91  # lines start at multiples of 22 tokens

    text = MISS * lines_before_500 + wrong + MISS * (lines_before_2000 - 24) + wrong + MISS * 150
    record = read(text)

    first, second, third, last = record.steps
    assert first == Share(3 * 23, 3 * 23)
    assert second == Share(3 * 68 - 2, 3 * 68)  # a wrong result makes the next step wrong too
    assert third.count == 3 * 137
    assert third.count - third.successes == 2
    assert last.count == 3 * (91 + 151 - 23 - 68 - 137)


def test_the_trials_of_a_system_are_read(read):
    system = System(y_factor=3, first_total=17, x_factor=4, op="-", second_total=16)
    lines = [attempt_line(n, body) for n, body in enumerate(system_bodies(system), 1)]

    record = read("".join(lines) + pass_line(1, system_bodies(system)[-1]), problem=system)

    assert record.lines == Share(6, 6)
    assert record.claims == Share(1, 1)
    assert 0 < record.useful_tokens < record.tokens


def test_the_steps_of_passes_are_copies_and_do_not_count(read):
    wrong_pass = CHECK.replace("= 24", "= 25")

    assert read(MISS + HIT + wrong_pass + CHECK).steps[0] == Share(6, 6)


def test_without_a_problem_only_steps_count(read):
    record = read("\n 13 - 5 = 8 / 2 = 4 yes", problem=None)

    assert sum(share.count for share in record.steps) == 2
    assert record.claims.count == record.lines.count == 0


def test_a_thinking_without_any_line_is_read(read):
    assert read("").tokens == 0
