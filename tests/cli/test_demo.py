"""`ponder demo`: what it does with a router, what it prints, and when it says that all is well."""

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from rich.console import Console

from ponder.cli import main
from ponder.cli.client import Connection, RequestFailed, reasoner
from ponder.cli.demo_report import Report, as_document, outcome_table, shift_table
from ponder.cli.demo_run import DemoRun, Outcome, Shift
from ponder.cli.questions import Question, countdown, number
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_SIMPLE
from tests.cli.conftest import Router, decision, reply
from tests.workers.tiny_model import save_tiny_model

RIGHT = countdown("Make {target} from {numbers}.", target=24, numbers=(6, 5, 1))
WRONG = number("What is 1 + 1?", 2)
MOVED = decision(
    survival=[pb.TierSurvival(tier=TIER_SIMPLE, budget_tokens=50, survival=0.5)],
    need=pb.NeedQuantiles(p50_tokens=120, p90_tokens=250, p99_tokens=2000),
)
BEFORE = decision(survival=[pb.TierSurvival(tier=TIER_SIMPLE, budget_tokens=50, survival=0.75)])


def ask(router: Router, *questions: Question) -> list[Outcome]:
    async def run() -> list[Outcome]:
        connection = Connection(target=router.target, api_key=None, timeout_s=10)
        async with reasoner(connection) as stub:
            return await DemoRun(stub, heard.append).ask_all(questions)

    heard: list[Outcome] = []
    outcomes = asyncio.run(run())
    assert sorted(map(id, heard)) == sorted(map(id, outcomes))
    return outcomes


def failed() -> Outcome:
    return Outcome(question=WRONG, error=RequestFailed("UNAVAILABLE", "no worker", ""))


def report(*outcomes: Outcome, shifts: tuple[Shift, ...] = ()) -> Report:
    return Report(outcomes=outcomes, shifts=shifts, duration_s=1.0)


def drawn(table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=140).print(table)
    return stream.getvalue()


def test_answers_are_judged_and_the_judgement_is_sent_as_feedback(router):
    outcomes = ask(router, RIGHT, WRONG)

    assert [outcome.is_right for outcome in outcomes] == [True, False]
    assert sorted(feedback.correct for feedback in router.feedback) == [False, True]


def test_what_a_question_asks_besides_is_sent(router):
    ask(
        router,
        replace(RIGHT, budget_tokens=9),
        replace(RIGHT, tier=TIER_COMPLEX),
        replace(RIGHT, coverage=0.8),
    )

    sent = {
        (request.thinking_budget, request.tier, request.coverage) for request in router.requests
    }
    assert sent == {(9, 0, 0), (0, TIER_COMPLEX, 0), (0, 0, 0.8)}
    assert len({request.request_id for request in router.requests}) == 3


def test_a_failed_question_does_not_stop_the_others_but_the_verdict_is_bad(router):
    router.failure = (grpc.StatusCode.UNAVAILABLE, "no worker")

    outcomes = ask(router, RIGHT, WRONG)

    assert [outcome.error.code for outcome in outcomes if outcome.error] == ["UNAVAILABLE"] * 2
    assert not report(*outcomes).all_answered


def test_wrong_answers_are_answers():
    assert report(Outcome(question=WRONG, reply=reply())).all_answered
    assert not report(Outcome(question=WRONG, reply=reply()), failed()).all_answered


def test_the_first_table_shows_each_question_with_what_it_took():
    text = drawn(outcome_table([Outcome(question=RIGHT, reply=reply(), is_right=True), failed()]))

    row = next(line for line in text.splitlines() if "Make 24" in line)
    for cell in ("complex", "777/2000", "finished", " 1 ", "6 * (5 - 1)", "right", "1234"):
        assert cell in row
    assert "UNAVAILABLE: no worker" in text


def test_the_second_table_shows_what_moved():
    text = drawn(shift_table([Shift(prompt="p", before=BEFORE, after=MOVED)]))

    assert "> 50 tokens" in text
    assert "0.7500 \N{RIGHTWARDS ARROW} 0.5000" in text
    assert "480 \N{RIGHTWARDS ARROW} 250" in text


def test_the_document_holds_the_same(router):
    shift = Shift(prompt="p", before=BEFORE, after=MOVED)
    outcome = Outcome(question=RIGHT, reply=reply(), is_right=True)

    document = json.loads(json.dumps(as_document(report(outcome, failed(), shifts=(shift,)))))

    assert document["questions"][0]["reply"]["usage"]["thinking_tokens"] == 777
    assert "error" in document["questions"][1]
    assert document["predictions"][0]["after"]["need"]["p90_tokens"] == 250
    assert document["verdict"].startswith("1 of 2 questions answered, 1 right")


def test_it_plans_again_until_every_prediction_has_moved(router):
    async def run() -> list[Shift]:
        connection = Connection(target=router.target, api_key=None, timeout_s=10)
        async with reasoner(connection) as stub:
            return await DemoRun(stub, lambda outcome: None).shifts(["p"], [BEFORE], 30)

    router.decisions = [BEFORE, BEFORE, MOVED]

    (shift,) = asyncio.run(run())

    assert shift.has_moved
    assert shift.after == MOVED


@pytest.mark.e2e
def test_the_demo_answers_every_question_on_a_random_model(tmp_path: Path):
    save_tiny_model(tmp_path / "tiny")

    result = CliRunner().invoke(main, ["demo", "--json", "--model", str(tmp_path / "tiny")])

    document = json.loads(result.stdout)
    assert result.exit_code == 0, result.stderr
    assert document["num_answered"] == len(document["questions"]) >= 10
