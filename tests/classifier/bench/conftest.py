"""Traces of a simulated model, that nothing cut."""

import json

import pytest

from ponder.v1.budget_pb2 import ThinkingStop


@pytest.fixture(scope="session")
def traces(questions, tmp_path_factory):
    path = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for question in questions:
            outcome = question.outcome()
            record = {
                "prompt": question.prompt,
                "model": "oracle",
                "thinking_tokens": outcome.thinking_tokens,
                "budget_tokens": outcome.budget_tokens,
                "stop": ThinkingStop.Name(outcome.stop),
                "family": question.family,
            }
            print(json.dumps(record), file=file)
    return path
