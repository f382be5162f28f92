"""A runner that fails when it is told to."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine import LLMEngine
from workers.engine.plan import SampledRows, StepPlan

# Gets the number of the run, from 1 on, the plan and the log-probabilities, which it may spoil.
Fail = Callable[[int, StepPlan, NDArray[np.float32]], None]


class Sabotage:
    """Stands for an engine's runner and fails as told."""

    def __init__(self, engine: LLMEngine, fail: Fail) -> None:
        self._runner = engine.runner
        self._fail = fail
        self.num_runs = 0
        engine.runner = self  # type: ignore[assignment] # stands for it

    def run(self, plan: StepPlan) -> SampledRows:
        self.num_runs += 1
        sampled = self._runner.run(plan)
        self._fail(self.num_runs, plan, sampled.logprobs)
        return sampled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)
