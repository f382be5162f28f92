"""A replay decides what the engine would have decided, to the token."""

import pytest

from tests.workers.early_exit.conftest import LINES, make_engine, run_all
from workers.calibration.recorder import TrialRecorder
from workers.calibration.replay import replay
from workers.early_exit import EarlyExit
from workers.engine import ThinkingStop


@pytest.fixture(scope="module")
def recorded(tokenizer, requests):
    """Thinking tokens and trials by request."""
    recorder = TrialRecorder(
        step_end_ids=tokenizer.step_end_ids(LINES.separators),
        trial_ids=(),
        max_trial_tokens=LINES.max_trial_tokens,
    )
    engine = make_engine(tokenizer, recorder, max_running=64, max_branch_share=0.75)
    done = run_all(engine, requests)
    assert recorder.num_lost == 0
    return {name: (len(one.thinking_ids), recorder.take(name)) for name, one in done.items()}


def test_recording_changes_no_token(tokenizer, requests, recorded):
    plain = run_all(make_engine(tokenizer), requests)

    assert {name: len(one.thinking_ids) for name, one in plain.items()} == {
        name: tokens for name, (tokens, _) in recorded.items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"agreement": 1, "confidence": 0.8, "max_entropy": 2.0},
        {"min_gap_tokens": 1, "backoff": 1.0, "agreement": 3},
        {"confidence": 1.0, "min_thinking_tokens": 0},
    ],
    ids=["default", "eager", "dense", "never"],
)
def test_a_replay_is_what_the_engine_does(tokenizer, requests, recorded, changes):
    rules = LINES.of({**LINES.to_json(), "repetition": 1.0, **changes})

    done = run_all(make_engine(tokenizer, EarlyExit.of(rules, tokenizer)), requests)

    for name, (tokens, trials) in recorded.items():
        expected = replay(tokens, trials, rules, num_fed=1, budget_tokens=400)
        usage = done[name].usage
        assert usage.thinking_tokens == expected.thinking_tokens
        exits = expected.exit_trial is not None
        assert (done[name].stop is ThinkingStop.CONFIDENT) == exits
        if exits:
            assert tuple(done[name].answer_ids) == trials[expected.exit_trial].answer_ids
            assert usage.probe_tokens == expected.probe_tokens
