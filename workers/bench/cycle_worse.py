"""Traces that teach nothing: every prompt with what another request spent."""

import json
from pathlib import Path
from random import Random
from typing import Final

from ponder.ledger import Ledger
from ponder.v1.budget_pb2 import ThinkingStop

_SEED: Final = 5


async def write_shuffled(ledger: Ledger, model: str, path: Path) -> None:
    """The traces of a model as JSON lines that `ponder train` reads, outcomes dealt out anew."""
    traces = [trace async for _, trace in ledger.read_traces(model)]
    others = Random(_SEED).sample(traces, len(traces))
    with path.open("w", encoding="utf-8") as file:
        for trace, other in zip(traces, others, strict=True):
            record = {
                "model": model,
                "features": trace.features,
                "thinking_tokens": other.usage.thinking_tokens,
                "budget_tokens": other.budget_tokens,
                "stop": ThinkingStop.Name(other.stop),
            }
            print(json.dumps(record), file=file)
