"""Prompts of our own in the files of a collection: four sources with tiers, one with outcomes."""

import json
from pathlib import Path
from random import Random

from classifier.general.prompts import GeneratedPrompt, generate

NUM_PROMPTS = 1200
_TOKENS = {"simple": 20, "moderate": 90, "complex": 220, "research": 500}
_SOURCES = ("first", "second", "third", "fourth")


def write_collection(directory: Path) -> None:
    rng = Random(5)
    with_tier: list[str] = []
    with_outcome: list[str] = []
    for index, prompt in enumerate(generate(NUM_PROMPTS, seed=11)):
        if index % 5 == 4:
            with_outcome.append(json.dumps(_outcome(prompt, rng)))
        else:
            with_tier.append(json.dumps(_tier(prompt, _SOURCES[index % 5])))
    (directory / "prompts.jsonl").write_text("\n".join(with_tier) + "\n", encoding="utf-8")
    (directory / "outcomes.jsonl").write_text("\n".join(with_outcome) + "\n", encoding="utf-8")


def _tier(prompt: GeneratedPrompt, source: str) -> dict[str, object]:
    return {
        "prompt": prompt.text,
        "tier": prompt.tier,
        "source": source,
        "set": f"{source} set",
        "domain": "any",
    }


def _outcome(prompt: GeneratedPrompt, rng: Random) -> dict[str, object]:
    return {
        "prompt": prompt.text,
        "source": "measured",
        "cot_tokens": round(_TOKENS[prompt.tier] * rng.uniform(0.7, 1.4)),
        "pass_rate": rng.uniform(0.2, 1.0),
    }
