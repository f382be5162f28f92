"""Tells an engine that hangs from one that takes long. Pure: time comes in ticks.

In ticks, so that a stall of this whole process, however long, is one of them and no engine's fault.
"""

from typing import Final

PATIENCE_S: Final = 2.0
"""A router must pass a hung worker over within 3 s: this, a tick, and the next report."""
_OUTLIER_FACTOR: Final = 4.0


class StepWatch:
    """An engine hangs when it has work and no step of it ends for longer than `patience_s` and than
    four times a long step of late. So a CPU that takes seconds for a chunk of prefill is given
    its time as soon as it has taken it twice; how long the first may take is `patience_s` to say.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._bound_s = patience_s
        self._silence_s: float | None = None  # None: there is nothing to do

    @property
    def is_stalled(self) -> bool:
        return self._silence_s is not None and self._silence_s > self._bound_s

    def expect(self) -> None:
        """Work was given: from now on steps end."""
        if self._silence_s is None:
            self._silence_s = 0.0

    def note(self, *, has_work: bool, long_step_s: float) -> None:
        """The engine has told something; `long_step_s` is EngineLoad's."""
        self._silence_s = 0.0 if has_work else None
        self._bound_s = max(self._patience_s, _OUTLIER_FACTOR * long_step_s)

    def tick(self, duration_s: float) -> None:
        """So much time has passed."""
        if self._silence_s is not None:
            self._silence_s += duration_s
