"""Collect traces for the classifier: what the reference model needs for prompts of every kind.

    python -m workers.training.collect --model DIR --out traces.jsonl [--count 4000]

Appends one JSON line per prompt and goes on where an earlier run stopped. Thinking stops early by
the model's own rules, as in a worker: that is the need to predict. Prompts are drawn from the
training split only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tqdm import tqdm

from workers.engine import EngineRequest
from workers.rollouts import Rollout
from workers.training.questions import Question, QuestionSource
from workers.training.rollouts import RolloutRunner


class Collector:
    """Runs questions and writes what they needed."""

    def __init__(self, runner: RolloutRunner, *, model: str, budget_tokens: int, seed: int) -> None:
        self._runner = runner
        self._model = model
        self._budget_tokens = budget_tokens
        self._seed = seed

    def collect(self, out: Path, count: int) -> None:
        """Append traces until the file holds `count` of them."""
        done = _ids_in(out)
        questions = {
            i: QuestionSource(Random(f"{self._seed}:{i}"), "train").any_family()
            for i in range(count)
            if i not in done
        }
        with out.open("a") as file, tqdm(total=count, initial=len(done), unit="trace") as bar:
            for rollout in self._runner.run(self._requests(questions)):
                index = int(rollout.request_id)
                file.write(json.dumps(self._record(index, questions[index], rollout)) + "\n")
                file.flush()
                bar.update()

    def _requests(self, questions: dict[int, Question]) -> Iterator[EngineRequest]:
        for index, question in questions.items():
            yield self._runner.request(
                str(index), question.prompt, self._budget_tokens, seed=self._seed + index
            )

    def _record(self, index: int, question: Question, rollout: Rollout) -> dict[str, object]:
        assert rollout.finished is not None
        return {
            "id": index,
            "prompt": question.prompt,
            "model": self._model,
            "family": question.family,
            "thinking_tokens": rollout.finished.usage.thinking_tokens,
            "budget_tokens": self._budget_tokens,
            "stop": f"THINKING_STOP_{rollout.finished.stop.name}",
            "correct": question.is_right(self._runner.text(rollout.answer_ids)),
            "propensity": 1.0,
        }


def _ids_in(path: Path) -> set[int]:
    if not path.exists():
        return set()
    return {int(json.loads(line)["id"]) for line in path.read_text().splitlines()}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and collect."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--name", help="of the model in the traces; default: its directory's")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--count", type=int, default=4000, help="traces in the file at the end")
    parser.add_argument("--budget", type=int, default=10_000, help="thinking tokens at most")
    parser.add_argument("--temperature", type=float, help="default: the model's own")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    runner = RolloutRunner(
        options.model,
        batch=options.batch,
        temperature=options.temperature,
        threads=options.threads,
        stops_early=True,
    )
    collector = Collector(
        runner,
        model=options.name or options.model.resolve().name,
        budget_tokens=options.budget,
        seed=options.seed,
    )
    collector.collect(options.out, options.count)


if __name__ == "__main__":
    main()
